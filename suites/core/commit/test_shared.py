"""Equal entries are each their own: what is replaced or taken back is missed by nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.verbs import must_have_gone_on, needs_reached
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.core.commit.looks import as_saved

if TYPE_CHECKING:
    from dcp_conformance.suites.core.commit import on_ranks_shared as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.commit.on_ranks_shared")

# Forth, back, and on: what a version gave up the next one wants again.
TURNS = (1, 2, 1, 3, 3, 4)
# Phase, kind and place of a failure; None: the storage's own finish cannot write what it is given.
FAILURES = {
    "between_items": ("resolve_data", "raise", False),
    "after_writing": ("write_data", "raise", True),
    "killed_after_writing": ("write_data", "kill", True),
    "in_finish": None,
}


@pytest.mark.clauses("FIN-06")
@pytest.mark.worlds(1, 2)
def test_equal_entries_are_overwritten_one_by_one(subject: Subject, world: int) -> None:
    as_saved(subject.observe(world, on_ranks.entries_in_turns, TURNS))


@pytest.mark.clauses("FIN-14")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("over", (False, True), ids=("new_id", "overwrite"))
@pytest.mark.parametrize("failure", FAILURES)
def test_failed_save_of_equal_values_changes_no_other_checkpoint(
    subject: Subject, world: int, over: bool, failure: str
) -> None:
    subject.observe(world, on_ranks.save_neighbour, over)
    fault = fault_of(failure, world)
    outcomes = subject.run(world, on_ranks.failing_save, fault)
    must_have_gone_on(outcomes)
    needs_reached(outcomes, fault.phase if fault else "finish", fault.ranks if fault else (0,))
    as_saved(subject.observe(world, on_ranks.looks_after, not over))


def fault_of(failure: str, world: int) -> Fault | None:
    """The fault on the last rank, at its fourth item where it comes between items."""
    point = FAILURES[failure]
    if point is None:
        return None
    phase, kind, after = point
    return Fault(phase=phase, kind=kind, after=after, ranks=(world - 1,), first=4 if phase == "resolve_data" else 1)
