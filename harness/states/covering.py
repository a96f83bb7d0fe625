"""Few combinations in which all pairs of values meet: covering arrays by allpairspy, and the count of what was met.

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
    impossible: tuple[Meeting, ...]


def pairwise(model: Model) -> list[Combination]:
    """Combinations in which each pair of values meets that can; the same for the same model."""
    names = [factor.name for factor in model.factors]
    found: list[Combination] = []
    varied = [factor for factor in model.factors if len(factor.values) > 1]
    plain = model.plain()

    def allowed(row: Sequence[str]) -> bool:
        # Factors with one value are part of no row, and of every combination.
        return model.allows({**plain, **_fixed(varied, row)} if len(row) == len(varied) else _fixed(varied, row))

    if len(varied) > 1:
        drawn: Any = AllPairs([list(factor.names) for factor in varied], filter_func=allowed)
        found = [{**plain, **_fixed(varied, row)} for row in drawn]
    left = meetings(model, 2) - set(itertools.chain.from_iterable(_meetings_of(row, 2) for row in found))
    for meeting in sorted(left):
        completed = complete(model, dict(meeting))
        if completed is not None:
            found.append(completed)
    return [{name: row[name] for name in names} for row in found or [plain]]


def sampled(model: Model, count: int, seed: int) -> list[Combination]:
    """`count` lawful combinations at random: what the nightly profile goes on with, where triples meet by chance."""
    chance, found = random.Random(seed), list[Combination]()
    while len(found) < count:
        row = {factor.name: chance.choice(factor.names) for factor in model.factors}
        if model.allows(row):
            found.append(row)
    return found


def complete(model: Model, held: Combination) -> Combination | None:
    """Return the plainest lawful combination that has the values of `held`; None where there is none."""
    row = dict(held)
    for factor in model.factors:
        if factor.name not in row:
            choices = [name for name in factor.names if model.allows({**row, factor.name: name})]
            if not choices:
                return None
            row[factor.name] = choices[0]
    return row if model.allows(row) else None


def coverage(model: Model, rows: Iterable[Combination], strength: int) -> Coverage:
    """Return what meets in `rows`, of all that can."""
    possible = meetings(model, strength)
    met = set(itertools.chain.from_iterable(_meetings_of(row, strength) for row in rows)) & possible
    everything = set(_everything(model, strength))
    return Coverage(
        strength=strength, possible=len(possible), met=len(met), impossible=tuple(sorted(everything - possible))
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


def _fixed(factors: Sequence[Any], row: Sequence[str]) -> Combination:
    return {factor.name: value for factor, value in zip(factors, row, strict=False)}
