"""From a combination that fails to the smallest set of values that still does, which names the finding."""

from __future__ import annotations

from collections.abc import Callable

from dcp_conformance.harness.states.covering import complete
from dcp_conformance.harness.states.varied import Combination, Model


def reduced(model: Model, failing: Combination, fails: Callable[[Combination], bool]) -> Combination:
    """Return the values of `failing` that are needed to fail, all other factors being plain.

    One value after the other is made plain, and stays so if the rest still fails; so no value that is left can be made
    plain alone. `fails` is asked at most once for each factor and pass, and never for what cannot meet.
    """
    plain, row = model.plain(), dict(failing)
    for _again in range(2):  # a value may become dispensable only after another is gone
        before = dict(row)
        for name in [name for name in row if row[name] != plain[name]]:
            simpler = {**row, name: plain[name]}
            if model.allows(simpler) and fails(simpler):
                row = simpler
        if row == before:
            break
    return {name: value for name, value in row.items() if value != plain[name]}


def restored(model: Model, needed: Combination) -> Combination:
    """Return the whole combination that a reduced one stands for."""
    found = complete(model, needed)
    assert found is not None, f"{needed} was reduced from a combination that can be"
    return found


def explains(needed: Combination, row: Combination) -> bool:
    """Tell whether a combination holds all that a reduced one needs to fail."""
    return all(row[name] == value for name, value in needed.items())


def sentence(needed: Combination) -> str:
    """Return a reduced combination as half a sentence: `dtype int64 with options thread_count=4`."""
    if not needed:
        return "any state (the plainest fails)"
    words = [f"{name} {value!r}" for name, value in needed.items()]
    return " with ".join([words[0], ", ".join(words[1:])] if len(words) > 1 else words)
