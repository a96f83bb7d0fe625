"""A checkpoint becomes one through finish: once, whole, after everybody, and never by halves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import Died
from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.shared_failures import must_blame_exactly, must_fail_everywhere
from dcp_conformance.harness.laws.verbs import (
    must,
    must_match,
    must_refuse,
    must_return,
    must_succeed,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.commit import on_ranks_finish as on_ranks
    from dcp_conformance.suites.core.commit import on_ranks_overwriting as overwriting
    from dcp_conformance.suites.core.commit.on_ranks_finish import Finish
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.commit.on_ranks_finish")
    overwriting = module_on_ranks("dcp_conformance.suites.core.commit.on_ranks_overwriting")

LATE_FUTURE = 2.0
# Longer than anybody would wait who waits for a moment.
LATE_STEP = 3.0


@pytest.mark.clauses("FIN-01", "FIN-03")
@pytest.mark.worlds(1, 2, 4)
def test_finish_runs_once_after_all_writes_with_their_results_in_rank_order(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.observed_finish_late)
    coordinator = observed[0]
    with subject.promise("FIN-01"):
        called_once_on_coordinator(observed)
        early = max(seen.writing_ended for seen in observed) - coordinator.began[0]
        must(early <= 0, otherwise=f"finish began {early:.2f} s before the last write had ended")
    with subject.promise("FIN-03"):
        wanted = [[name for name, _ in seen.reported] for seen in observed]
        for results in coordinator.given:
            shown = [[name for name, _ in rank] for rank in results]
            must(
                shown == wanted,
                otherwise=f"finish was given results of {shown}; the ranks in order wrote {wanted}",
                rank=0,
            )


@pytest.mark.clauses("FIN-01")
@pytest.mark.worlds(1, 2, 4)
def test_finish_is_not_called_where_a_rank_failed_to_write(subject: Subject, world: int) -> None:
    outcomes = subject.run(world, on_ranks.observed_finish_failing)
    observed = must_return(outcomes)
    needs_reached(outcomes, "write_data", (world - 1,))
    for rank, seen in enumerate(observed):
        must(not seen.given, otherwise=f"finish was called although rank {world - 1} had failed to write", rank=rank)


@pytest.mark.clauses("FIN-01")
@pytest.mark.worlds(1, 2)
def test_each_rank_finishes_its_own_results_where_ranks_save_alone(subject: Subject, world: int) -> None:
    for rank, seen in enumerate(subject.observe(world, on_ranks.observed_finish_alone)):
        names = [sorted({name for results in call for name, _ in results}) for call in seen.given]
        wanted = [[f"own{rank}.{number}" for number in range(3)]]
        must(names == wanted, otherwise=f"finish was called {len(names)} times, with results of {names}", rank=rank)


def called_once_on_coordinator(observed: Sequence[Finish]) -> None:
    """Broken unless rank 0 saw one call of finish and no other rank any."""
    for rank, seen in enumerate(observed):
        calls, wanted = len(seen.began), 1 if rank == 0 else 0
        must(
            calls == wanted,
            otherwise=f"finish was called {calls} times; it should be {wanted}",
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


@pytest.mark.clauses("FIN-04")
@pytest.mark.worlds(2, 4)
def test_checkpoint_is_committed_when_save_returns_on_any_rank(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.load_at_once))


@pytest.mark.clauses("FIN-10")
@pytest.mark.parametrize("refusing", (False, True), ids=("default", "told_to_refuse_overwriting"))
def test_remains_of_a_save_that_died_are_no_checkpoint(subject: Subject, refusing: bool) -> None:
    killed_before_finish(subject, 2, names=6, length=4096)
    held = subject.alone(overwriting.save_over_remains, refusing)
    must(held.keys == held.wanted, otherwise=f"the metadata lists {held.keys}; {held.wanted} were saved", kind="keys")
    must_match([held.found])


@pytest.mark.clauses("FIN-11")
@pytest.mark.worlds(2, 4)
def test_failing_finish_fails_the_save_of_all_in_the_name_of_the_coordinator(subject: Subject, world: int) -> None:
    outcomes = subject.run(world, on_ranks.failing_finish, Fault(phase="finish", ranks=(0,)))
    attempts = must_return(outcomes)
    needs_reached(outcomes, "finish", (0,))
    must_fail_everywhere(attempts)
    must_blame_exactly(attempts, (0,))


@pytest.mark.clauses("FIN-13")
@pytest.mark.parametrize("phase,late", (("set_up", 0), ("prepare_local_plan", 1), ("write_data", 0), ("finish", 0)))
def test_rank_that_is_late_in_a_step_fails_nothing(subject: Subject, phase: str, late: int) -> None:
    fault = Fault(phase=phase, ranks=(late,), kind="delay", seconds=LATE_STEP)
    outcomes = subject.run(2, on_ranks.late_step, fault)
    observed = must_return(outcomes)
    needs_reached(outcomes, phase, (late,))
    for rank, (attempt, found) in enumerate(observed):
        must_succeed(attempt, f"a save in which rank {late} came {LATE_STEP:.0f} s late to {phase}", rank=rank)
        must_match([found])


@pytest.mark.clauses("FIN-13")
def test_commit_waits_for_the_slowest_rank(subject: Subject) -> None:
    outcomes = subject.run(2, on_ranks.late_future, LATE_FUTURE)
    observed = must_return(outcomes)
    needs_reached(outcomes, "write_data_future", (1,))
    due = observed[1].due
    for rank, seen in enumerate(observed):
        must_succeed(seen.save, f"a save in which rank 1 was {LATE_FUTURE:.0f} s late", rank=rank)
        must(
            min([seen.returned, *seen.loads]) >= due,
            otherwise="the checkpoint was there before rank 1 had written its part",
            kind="too early",
            rank=rank,
        )
        must_match([seen.found])
