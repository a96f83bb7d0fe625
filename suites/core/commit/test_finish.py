"""A checkpoint becomes one through finish: once, whole, after everybody, and never by halves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dcp_conformance.harness.cluster import Died
from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.shared_failures import must_blame_exactly, must_fail_everywhere
from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    must,
    must_match,
    must_refuse,
    must_return,
    must_succeed,
    needs_reached,
)
from dcp_conformance.harness.subject.spec import STYLES
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.commit import on_ranks_finish as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.commit.on_ranks_finish")

LATE_FUTURE = 2.0
LENGTH = 64 * 1024  # 512 KiB of float64
SLACK = 64 * 1024


@pytest.mark.clauses("FIN-01", "FIN-03")
@pytest.mark.worlds(1, 2, 4)
def test_finish_runs_once_after_all_writes_with_their_results_in_rank_order(subject: Subject, world: int) -> None:
    watchable(subject)
    reported, ended, began, given = zip(*subject.observe(world, on_ranks.observed_finish_late), strict=True)
    with subject.promise("FIN-01"):
        called_once_on_coordinator(given)
        must(
            began[0][0] >= max(ended),
            otherwise=f"finish began {max(ended) - began[0][0]:.2f} s before the last write had ended",
        )
    with subject.promise("FIN-03"):
        for results in given[0]:
            shown = [[name for name, _ in rank] for rank in results]
            wanted = [[name for name, _ in rank] for rank in reported]
            must(
                shown == wanted,
                otherwise=f"finish was given results of {shown}; the ranks in order wrote {wanted}",
                rank=0,
            )


@pytest.mark.clauses("FIN-01")
@pytest.mark.worlds(1, 2, 4)
def test_finish_is_not_called_where_a_rank_failed_to_write(subject: Subject, world: int) -> None:
    watchable(subject)
    outcomes = subject.run(world, on_ranks.observed_finish_failing)
    observed = must_return(outcomes)
    needs_reached(outcomes, "write_data", (world - 1,))
    for rank, given in enumerate(observed):
        must(not given, otherwise=f"finish was called although rank {world - 1} had failed to write", rank=rank)


@pytest.mark.clauses("FIN-01")
@pytest.mark.worlds(1, 2)
def test_each_rank_finishes_its_own_results_where_ranks_save_alone(subject: Subject, world: int) -> None:
    watchable(subject)
    for rank, given in enumerate(subject.observe(world, on_ranks.observed_finish_alone)):
        if given is None:
            raise NotApplicable("the storage opted out of rank-local metadata, or save has no use_collectives")
        names = [sorted({name for results in call for name, _ in results}) for call in given]
        wanted = [[f"own{rank}.{number}" for number in range(3)]]
        must(names == wanted, otherwise=f"finish was called {len(given)} times, with results of {names}", rank=rank)


def watchable(subject: Subject) -> None:
    """NotApplicable for an engine that takes no writer: it has no finish that anybody could watch."""
    if not subject.observe(1, on_ranks.takes_a_writer)[0]:
        raise NotApplicable("this save takes no storage writer, so it makes no promise about its finish")


def called_once_on_coordinator(given: tuple[list[Any], ...]) -> None:
    """Broken unless rank 0 saw one call of finish and no other rank any."""
    for rank, calls in enumerate(given):
        wanted = 1 if rank == 0 else 0
        must(
            len(calls) == wanted,
            otherwise=f"finish was called {len(calls)} times; it should be {wanted}",
            kind="calls",
            rank=rank,
        )


@pytest.mark.clauses("FIN-02")
@pytest.mark.worlds(1, 2)
def test_nothing_loads_where_finish_failed(subject: Subject, world: int) -> None:
    outcomes = subject.run(world, on_ranks.save_with, Fault(phase="finish", ranks=(0,)))
    must_return(outcomes)
    needs_reached(outcomes, "finish", (0,))
    for rank, attempt in enumerate(subject.observe(world, on_ranks.load_unfinished, world)):
        must_refuse(attempt, "a load of the new id whose save failed in finish", rank=rank)


@pytest.mark.clauses("FIN-02")
@pytest.mark.worlds(1, 2)
def test_nothing_loads_where_all_ranks_died_before_finish(subject: Subject, world: int) -> None:
    killed_before_finish(subject, world)
    attempt = subject.alone(on_ranks.load_unfinished, world)
    must_refuse(attempt, "a load of the new id whose ranks had died before finish", rank=0)


def killed_before_finish(subject: Subject, world: int, *, names: int = 3, length: int = 16) -> None:
    """A save that died just before finish; Untestable if it did not come so far."""
    outcomes = subject.run(world, on_ranks.save_killed_before_finish, 1, names, length)
    if not all(isinstance(outcome, Died) for outcome in outcomes):
        must_return(outcomes)
    needs_reached(outcomes, "finish", (0,))


@pytest.mark.clauses("FIN-03")
@pytest.mark.worlds(1, 2)
def test_save_after_a_failed_one_holds_exactly_its_own_state(subject: Subject, world: int) -> None:
    watchable(subject)
    for rank, (keys, wanted, found) in enumerate(subject.observe(world, on_ranks.second_id_after_failed_save, world)):
        must(keys == wanted, otherwise=f"the metadata lists {keys}; {wanted} were saved", kind="keys", rank=rank)
        must_match([found])


@pytest.mark.clauses("FIN-04")
@pytest.mark.worlds(2, 4)
def test_checkpoint_is_committed_when_save_returns_on_any_rank(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.load_at_once))


@pytest.mark.clauses("FIN-06")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("reuse", (False, True), ids=("new_writer", "same_writer"))
@pytest.mark.parametrize("style", STYLES)
def test_second_save_to_an_id_leaves_exactly_the_second_state(
    subject: Subject, world: int, style: str, reuse: bool
) -> None:
    for rank, (keys, wanted, found) in enumerate(subject.observe(world, on_ranks.overwritten, style, reuse)):
        must(keys == wanted, otherwise=f"the metadata lists {keys}; {wanted} were saved last", kind="keys", rank=rank)
        must_match([found])


@pytest.mark.clauses("FIN-07")
@pytest.mark.worlds(1, 2)
def test_refused_overwrite_says_so_and_keeps_the_old_checkpoint(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.refused_overwrite)
    must_fail_everywhere([attempt for _, attempt, _, _, _ in observed])
    for rank, (checkpoint_id, attempt, changed, old, new) in enumerate(observed):
        error = must_refuse(attempt, "a save where a checkpoint is", rank=rank)
        text = " ".join(item.text for item in (error.failures or {0: error}).values())
        clear = "exist" in text.lower() or checkpoint_id in text
        must(clear, otherwise=f"the refusal names neither the id nor that it exists: {text.strip()[-200:]}", rank=rank)
        must(not changed, otherwise=f"the refused save changed the checkpoint: {changed}", kind="changed", rank=rank)
        must_match([old, new])


@pytest.mark.clauses("FIN-08")
def test_overwrite_leaves_no_data_of_the_earlier_checkpoint(subject: Subject) -> None:
    subject.observe(1, on_ranks.save_sized, "fresh", 1, LENGTH)
    fresh = subject.alone(on_ranks.stored_size, "fresh", 0)
    subject.observe(2, on_ranks.save_sized, "again", 1, LENGTH)
    for version in range(2, 7):
        subject.observe(1, on_ranks.save_sized, "again", version, LENGTH)
    limit = fresh * 3 // 2 + SLACK
    size = subject.alone(on_ranks.stored_size, "again", limit)
    must(
        size <= limit,
        otherwise=f"{size} bytes are stored after six saves to one id, and {fresh} after one to a new id",
        kind="space",
    )


@pytest.mark.clauses("FIN-10")
@pytest.mark.parametrize("refusing", (False, True), ids=("default", "told_to_refuse_overwriting"))
def test_remains_of_a_save_that_died_are_no_checkpoint(subject: Subject, refusing: bool) -> None:
    killed_before_finish(subject, 2, names=6, length=4096)
    observed = subject.alone(on_ranks.save_over_remains, refusing)
    keys, found = observed
    must(
        keys == ["own0.0", "own0.1"], otherwise=f"the metadata lists {keys}; own0.0 and own0.1 were saved", kind="keys"
    )
    must_match([found])


@pytest.mark.clauses("FIN-11")
@pytest.mark.worlds(2, 4)
def test_failing_finish_fails_the_save_of_all_in_the_name_of_the_coordinator(subject: Subject, world: int) -> None:
    outcomes = subject.run(world, on_ranks.failing_finish, Fault(phase="finish", ranks=(0,)))
    attempts = must_return(outcomes)
    needs_reached(outcomes, "finish", (0,))
    must_fail_everywhere(attempts)
    must_blame_exactly(attempts, (0,))


@pytest.mark.clauses("FIN-13")
def test_commit_waits_for_the_slowest_rank(subject: Subject) -> None:
    watchable(subject)
    outcomes = subject.run(2, on_ranks.late_future, LATE_FUTURE)
    observed = must_return(outcomes)
    needs_reached(outcomes, "write_data_future", (1,))
    due = observed[1][0]
    for rank, (_, ended, loaded, attempt, found) in enumerate(observed):
        must_succeed(attempt, f"a save in which rank 1 was {LATE_FUTURE:.0f} s late", rank=rank)
        if any(moment < due for moment in loaded) or ended < due:
            raise Broken("the checkpoint was there before rank 1 had written its part", kind="too early", rank=rank)
        must_match([found])
