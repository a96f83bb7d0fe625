"""Neither large tensors nor many small values are too much."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import Untestable, holds, returned, same
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.scale.on_ranks_large")
LARGE_LIMIT = 540.0
MANY_LIMIT = 120.0


@pytest.mark.clauses("WRITE-18")
@pytest.mark.parametrize("state", ("bytes_beyond_2gib", "doubles_beyond_4gib", "five_views_of_1gib"))
def test_sizes_beyond_2_and_4_gib_are_stored_exactly_or_refused(subject: Subject, state: str) -> None:
    [missing] = returned(subject.run(1, on_ranks.room_for_large))
    if missing:
        raise Untestable("; ".join(missing))
    [(_, found)] = returned(subject.run(1, on_ranks.large_round_trip, state, timeout=LARGE_LIMIT))
    holds(not found, f"save returned, and after a load {'; '.join(found[:3])}", kind="values")


@pytest.mark.clauses("WRITE-19")
def test_many_small_values_are_stored_like_few_large_ones(subject: Subject) -> None:
    [(saved, loaded, found)] = returned(subject.run(1, on_ranks.many_small_values, timeout=2 * MANY_LIMIT))
    same([found])
    for what, seconds in (("save", saved), ("load", loaded)):
        holds(seconds < MANY_LIMIT, f"the {what} of 1100 small values took {seconds:.0f} s", kind="slow")
