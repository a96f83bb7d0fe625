"""Few combinations in which all pairs of values meet: covering arrays by allpairspy, and the count of what was met.

A pair that meets in a tensor of zeros only has not been looked at, so each pair meets with telling values of all other
factors. Values that hide meet each value of the others once, in combinations of their own.

allpairspy is ten times as fast as covertable, the other maintained generator of PyPI, and gives arrays as small. Under
constraints it leaves out some pairs that could meet; each of those gets a combination of its own, plain in all else.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from allpairspy import AllPairs

from dcp_conformance.harness.states.varied import Combination, Model

# (factor, value) of each of t factors, in the order of the model.
Meeting = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many meetings of t values there can be, how many there were, and those that no combination can have."""

    strength: int
    possible: int
    met: int
    # Met where all other values are telling ones.
    shown: int
    impossible: tuple[Meeting, ...]


def pairwise(model: Model) -> list[Combination]:
    """Combinations in which each pair of values meets that can, shown by the rest; the same for the same model."""
    found = _covering(model.telling())
    for factor in model.factors:
        for turn, value in enumerate(factor.hiding):
            found += _each_once(model, {factor.name: value}, turn)
    left = meetings(model, 2) - set(itertools.chain.from_iterable(_shown_in(model, row, 2) for row in found))
    for meeting in sorted(left):
        completed = complete(model, dict(meeting))
        if completed is not None and completed not in found:
            found.append(completed)
    return found or [model.plain()]


def _covering(model: Model) -> list[Combination]:
    plain = model.plain()
    varied = [factor for factor in model.factors if len(factor.values) > 1]

    def allowed(row: Sequence[str]) -> bool:
        # Factors with one value are part of no row, and of every combination.
        return model.allows({**plain, **_fixed(varied, row)} if len(row) == len(varied) else _fixed(varied, row))

    if len(varied) < 2:  # noqa: PLR2004 - a pair is of two
        return []
    drawn: Any = AllPairs([list(factor.names) for factor in varied], filter_func=allowed)
    return [{**plain, **_fixed(varied, row)} for row in drawn]


def _each_once(model: Model, held: Combination, turn: int) -> list[Combination]:
    """Combinations with the values of `held` in which each telling value of the other factors that can is met."""
    others = [factor for factor in model.factors if factor.name not in held]
    # Each hiding value begins at another place, so that not all of them meet the same triples.
    left = {factor.name: [*factor.telling[turn:], *factor.telling[:turn]] for factor in others}
    found = list[Combination]()
    while True:
        row = dict(held)
        for factor in others:
            choices = (*left[factor.name], *factor.telling)
            row[factor.name] = next((name for name in choices if model.allows({**row, factor.name: name})), "")
        if not model.allows(row) or "" in row.values() or not any(row[name] in names for name, names in left.items()):
            return found
        left = {name: [value for value in names if value != row[name]] for name, names in left.items()}
        found.append({factor.name: row[factor.name] for factor in model.factors})


def sampled(model: Model, count: int, seed: int) -> list[Combination]:
    """`count` lawful combinations at random: what the nightly profile goes on with, where triples meet by chance."""
    chance, found = random.Random(seed), list[Combination]()
    while len(found) < count:
        row = {factor.name: chance.choice(factor.names) for factor in model.factors}
        if model.allows(row):
            found.append(row)
    return found


def complete(model: Model, held: Combination) -> Combination | None:
    """Return the plainest lawful combination with the values of `held`, of telling ones if it can; None without one."""
    row = dict(held)
    for factor in model.factors:
        if factor.name not in row:
            choices = [name for name in (*factor.telling, *factor.hiding) if model.allows({**row, factor.name: name})]
            if not choices:
                return None
            row[factor.name] = choices[0]
    return {factor.name: row[factor.name] for factor in model.factors} if model.allows(row) else None


def coverage(model: Model, rows: Iterable[Combination], strength: int) -> Coverage:
    """Return what meets in `rows`, of all that can."""
    rows, possible = list(rows), meetings(model, strength)
    met = set(itertools.chain.from_iterable(_meetings_of(row, strength) for row in rows)) & possible
    shown = set(itertools.chain.from_iterable(_shown_in(model, row, strength) for row in rows)) & possible
    return Coverage(
        strength=strength,
        possible=len(possible),
        met=len(met),
        shown=len(shown),
        impossible=tuple(sorted(set(_everything(model, strength)) - possible)),
    )


def meetings(model: Model, strength: int) -> set[Meeting]:
    """Return all meetings of `strength` values that no clash forbids."""
    return {meeting for meeting in _everything(model, strength) if model.allows(dict(meeting))}


def _everything(model: Model, strength: int) -> Iterator[Meeting]:
    for factors in itertools.combinations(model.factors, strength):
        for names in itertools.product(*(factor.names for factor in factors)):
            yield tuple((factor.name, name) for factor, name in zip(factors, names, strict=True))


def _meetings_of(row: Combination, strength: int) -> Iterator[Meeting]:
    yield from itertools.combinations(row.items(), strength)


def _shown_in(model: Model, row: Combination, strength: int) -> Iterator[Meeting]:
    """The meetings in a combination whose other values are all telling."""
    hiding = {factor.name for factor in model.factors if row[factor.name] in factor.hiding}
    return (met for met in _meetings_of(row, strength) if hiding <= {name for name, _value in met})


def _fixed(factors: Sequence[Any], row: Sequence[str]) -> Combination:
    return {factor.name: value for factor, value in zip(factors, row, strict=False)}
