"""A save that failed: before it wrote it has changed nothing, and whatever failed can be repeated at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import (
    must_match,
    must_refuse,
    must_return,
    must_succeed,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.core.commit.looks import as_saved

if TYPE_CHECKING:
    from dcp_conformance.suites.core.commit import on_ranks_failing_early as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.commit.on_ranks_failing_early")

if TYPE_CHECKING:
    from dcp_conformance.suites.core.commit import on_ranks_retries as on_retries
else:
    on_retries = module_on_ranks("dcp_conformance.suites.core.commit.on_ranks_retries")

# All that come before the storage is asked to write, in their order.
PHASES = (
    "set_up", "create_local_plan", "prepare_local_plan", "create_global_plan", "prepare_global_plan", "finish_plan",
)  # fmt: skip
OF_THE_COORDINATOR = ("create_global_plan", "prepare_global_plan")


@pytest.mark.clauses("FIN-15")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("when", PHASES)
def test_save_that_fails_before_it_writes_leaves_the_old_checkpoint(subject: Subject, world: int, when: str) -> None:
    failing = failing_ranks(when, world)
    outcomes = subject.run(world, on_ranks.fails_in, when, failing)
    observed = must_return(outcomes)
    needs_reached(outcomes, when, failing)
    for rank, (ended, look) in enumerate(observed):
        must_refuse(ended, f"a save that failed in {when} on rank {failing[0]}", rank=rank)
        must_match([look.found], f"what loads {look.when}")


def failing_ranks(when: str, world: int) -> tuple[int, ...]:
    """Where it fails: the coordinator plans for all; a rank that finishes its plan may write while another fails."""
    if when in OF_THE_COORDINATOR:
        return (0,)
    return tuple(range(world)) if when == "finish_plan" else (world - 1,)


@pytest.mark.clauses("FIN-15")
@pytest.mark.parametrize(("what", "world"), (("no mapping", 1), ("disagree", 2)), ids=("no_mapping", "disagreement"))
def test_save_that_is_refused_leaves_the_old_checkpoint(subject: Subject, what: str, world: int) -> None:
    observed = subject.observe(world, on_ranks.fails_by, what)
    if any(ended.ok for ended, _, _ in observed):
        return  # whether it should be refused is another promise
    for rank, (_, loaded, look) in enumerate(observed):
        must_succeed(loaded, "a load of what was there before a save that was refused", rank=rank)
        assert look is not None, "a load that succeeded was looked at"
        must_match([look.found], f"what loads {look.when}")


@pytest.mark.clauses("FIN-15")
@pytest.mark.worlds(2)
def test_save_to_which_a_rank_does_not_come_leaves_the_old_checkpoint(subject: Subject, world: int) -> None:
    subject.observe(world, on_ranks.save_first)
    attempts = subject.observe(world, on_ranks.save_without_last)
    must_refuse(attempts[0], f"a save to which rank {world - 1} did not come", rank=0)
    as_saved([[look] for look in subject.observe(world, on_ranks.look)])


@pytest.mark.clauses("FIN-16")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("reuse", (False, True), ids=("new_objects", "same_objects"))
def test_operation_that_failed_can_be_repeated_at_once(subject: Subject, world: int, reuse: bool) -> None:
    outcomes = subject.run(world, on_retries.retried, reuse)
    observed = must_return(outcomes)
    for rank, retries in enumerate(observed):
        for retry in retries:
            must_refuse(retry.failed, f"a {retry.call} that failed in {retry.phase}", rank=rank)
            must_succeed(
                retry.again, f"the same {retry.call} at once again, after one failed in {retry.phase}", rank=rank
            )
            must_match([retry.found], f"what came of a {retry.call} that was repeated after it failed in {retry.phase}")
