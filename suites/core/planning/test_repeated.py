"""A piece that one rank plans twice is stored right or refused: save never says ok and loses one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match, must_refuse, must_succeed
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.planning import on_ranks_repeated as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.planning.on_ranks_repeated")

# As in on_ranks_repeated.PLANNED, which needs torch.
PLANNED = ("whole", "piece", "other_values", "overlap", "inside")


@pytest.mark.clauses("PLAN-14")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("what", PLANNED)
def test_piece_that_a_value_plans_twice_is_stored_right_or_refused(subject: Subject, world: int, what: str) -> None:
    stored_or_refused(subject.observe(world, on_ranks.repeated_by_value, what))


@pytest.mark.clauses("PLAN-14")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("what", ("tensors", "objects"))
def test_piece_that_a_planner_plans_twice_is_stored_right_or_refused(subject: Subject, world: int, what: str) -> None:
    stored_or_refused(subject.observe(world, on_ranks.repeated_by_planner, what))


def stored_or_refused(observed: Sequence[on_ranks.Repeated]) -> None:
    """Broken unless all ranks refused the save and the load, or all saved and each loads what was saved."""
    refused = [rank for rank, found in enumerate(observed) if not found.save.ok]
    told = f"the save was refused on rank {refused[0]} and returned here" if refused else ""
    for rank, found in enumerate(observed):
        if refused:
            must(not found.save.ok, otherwise=told, kind="ranks disagree", rank=rank)
            must_refuse(found.save, "a save of a piece that is planned twice", rank=rank)
            must_refuse(found.load, "a load of the id whose save was refused", rank=rank)
        else:
            must_succeed(found.load, "save returned, and the load", rank=rank)
    must_match([found.found for found in observed], "save returned, and what loads")
