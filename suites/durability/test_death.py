"""What a dead process leaves behind: the whole new state, or nothing that loads."""

from __future__ import annotations

import pytest

from harness.cluster import Died
from harness.faults.fault import Fault
from harness.laws import Untestable, reached, refused, returned, same
from harness.subject import Subject, scenarios

on_ranks = scenarios("suites.durability.scenarios.death")


@pytest.mark.clauses("DUR-01")
@pytest.mark.worlds(1, 2)
def test_checkpoint_survives_the_death_of_all_ranks_after_save(subject: Subject, world: int) -> None:
    outcomes = subject.run(world, on_ranks.save_and_die)
    if not all(isinstance(outcome, Died) for outcome in outcomes):
        returned(outcomes)
        raise Untestable("the ranks did not die as they were told to")
    same(returned(subject.run(1, on_ranks.load_all, world)))


@pytest.mark.clauses("DUR-12")
@pytest.mark.worlds(2, 4)
@pytest.mark.parametrize("after", (False, True), ids=("before_writing", "after_writing"))
def test_rank_killed_while_writing_means_no_commit(subject: Subject, world: int, after: bool) -> None:
    victim = world - 1
    fault = Fault(phase="write_data", ranks=(victim,), kind="kill", after=after)
    reached(subject.run(world, on_ranks.save_with_fault, fault), "write_data", (victim,))
    [attempt] = returned(subject.run(1, on_ranks.attempt_load, world))
    refused(attempt, "a load of the id whose save lost a rank before the commit", rank=0)
