"""Neither large tensors nor many small values are too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import Untestable, must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.scale import on_ranks_large as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.scale.on_ranks_large")

LARGE_LIMIT = 540.0
MANY_LIMIT = 120.0


@pytest.mark.clauses("WRITE-18")
@pytest.mark.parametrize("state", ("bytes_beyond_2gib", "doubles_beyond_4gib", "five_views_of_1gib"))
def test_sizes_beyond_2_and_4_gib_are_stored_exactly_or_refused(subject: Subject, state: str) -> None:
    missing = subject.alone(on_ranks.room_for_large)
    if missing:
        raise Untestable("; ".join(missing))
    (_, found) = subject.alone(on_ranks.large_round_trip, state, timeout=LARGE_LIMIT)
    must(not found, otherwise=f"save returned, and after a load {'; '.join(found[:3])}", kind="values")


@pytest.mark.clauses("WRITE-19")
def test_many_small_values_are_stored_like_few_large_ones(subject: Subject) -> None:
    (saved, loaded, found) = subject.alone(on_ranks.many_small_values, timeout=2 * MANY_LIMIT)
    must_match([found])
    for what, seconds in (("save", saved), ("load", loaded)):
        must(seconds < MANY_LIMIT, otherwise=f"the {what} of 1100 small values took {seconds:.0f} s", kind="slow")
