"""What a dead process leaves behind: the whole new state, or nothing that loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import Died
from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.verbs import (
    Untestable,
    must,
    must_match,
    must_refuse,
    must_return,
    must_succeed,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.crash import on_ranks_death as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.crash.on_ranks_death")


@pytest.mark.clauses("DUR-01")
@pytest.mark.worlds(1, 2)
def test_checkpoint_survives_the_death_of_all_ranks_after_save(subject: Subject, world: int) -> None:
    outcomes = subject.run(world, on_ranks.save_and_die)
    if not all(isinstance(outcome, Died) for outcome in outcomes):
        must_return(outcomes)
        raise Untestable("the ranks did not die as they were told to")
    must_match(subject.observe(1, on_ranks.load_all_from_files, world, fresh=True))


@pytest.mark.clauses("DUR-12")
@pytest.mark.worlds(2, 4)
@pytest.mark.parametrize("after", (False, True), ids=("before_writing", "after_writing"))
def test_rank_killed_while_writing_means_no_commit(subject: Subject, world: int, after: bool) -> None:
    victim = world - 1
    fault = Fault(phase="write_data", ranks=(victim,), kind="kill", after=after)
    needs_reached(subject.run(world, on_ranks.save_with_fault, fault), "write_data", (victim,))
    attempt = subject.alone(on_ranks.attempt_load, world)
    must_refuse(attempt, "a load of the id whose save lost a rank before the commit", rank=0)


@pytest.mark.clauses("DUR-10")
def test_every_rank_and_a_new_process_see_the_commit_when_save_returns(subject: Subject) -> None:
    for rank, (attempt, differences) in enumerate(subject.observe(2, on_ranks.save_and_look_at_once)):
        must_succeed(attempt, "reading the metadata as soon as save had returned", rank=rank)
        must_match([differences])
    must_match(subject.observe(1, on_ranks.load_all, 2))


@pytest.mark.clauses("DUR-03")
@pytest.mark.parametrize("after", (False, True), ids=("before_finish", "after_finish"))
def test_process_killed_around_the_commit_leaves_all_or_nothing(subject: Subject, after: bool) -> None:
    fault = Fault(phase="finish", ranks=(0,), kind="kill", after=after)
    needs_reached(subject.run(1, on_ranks.save_alone_with_fault, fault), "finish", (0,))
    whole = subject.alone(on_ranks.metadata_is_whole)
    must(
        whole != [False],
        otherwise="read_metadata returned metadata that lacks what was saved",
        kind="partial commit",
        rank=0,
    )


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-03")
def test_metadata_cut_short_is_never_believed(subject: Subject) -> None:
    observed = subject.alone(on_ranks.read_cut_metadata)
    believed = observed["believed"]
    must(not believed, otherwise=f"read_metadata took it for whole, with {believed[:1]}", kind="partial commit", rank=0)
