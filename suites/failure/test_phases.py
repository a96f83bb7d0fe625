"""A failure of any rank in any phase is everybody's failure, told truly, and over soon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import Outcome
from dcp_conformance.harness.faults.fault import LOAD_PHASES, SAVE_PHASES, Fault
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.laws.shared_failures import (
    must_blame_exactly,
    must_fail_everywhere,
    must_tell_all_alike,
    must_tell_original,
)
from dcp_conformance.harness.laws.verbs import must, must_refuse, must_return, must_succeed, needs_reached
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.failure import on_ranks_phases as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.failure.on_ranks_phases")

COORDINATOR_ONLY = ("prepare_global_plan", "finish")
RANKS = ((0,), (1,), (2,), (3,), (1, 3))
TELLING = ("FAIL-01", "FAIL-02", "FAIL-03", "FAIL-06", "FAIL-13")
# A failure is told within a moment; the seconds are for slow storage.
LIMIT = 20.0


def cases(phases: Sequence[str]) -> list[object]:
    """Every phase with every choice of failing ranks; only the coordinator runs the global phases."""
    chosen = [(phase, ranks) for phase in phases for ranks in (RANKS if phase not in COORDINATOR_ONLY else RANKS[:1])]
    return [pytest.param(*case, id=f"{case[0]}-{'and'.join(map(str, case[1]))}") for case in chosen]


@pytest.mark.clauses(*TELLING, "FAIL-10", "FAIL-15")
@pytest.mark.parametrize(("phase", "ranks"), cases(SAVE_PHASES))
def test_failing_rank_fails_the_save_of_all(subject: Subject, phase: str, ranks: tuple[int, ...]) -> None:
    outcomes = subject.run(4, on_ranks.save_with_fault, Fault(phase=phase, ranks=ranks), timeout=LIMIT)
    judge_telling(subject, outcomes, phase, ranks, "ValueError")
    with subject.promise("FAIL-15"):
        for rank, attempt in enumerate(subject.observe(4, on_ranks.load_faulted, timeout=LIMIT)):
            must_refuse(attempt, "a load of the id whose save failed", rank=rank)


@pytest.mark.clauses(*TELLING, "FAIL-10")
@pytest.mark.parametrize(("phase", "ranks"), cases(LOAD_PHASES))
def test_failing_rank_fails_the_load_of_all(subject: Subject, phase: str, ranks: tuple[int, ...]) -> None:
    outcomes = subject.run(4, on_ranks.load_with_fault, Fault(phase=phase, ranks=ranks), timeout=LIMIT)
    # What a failure to read metadata turns into is the engine's own business.
    judge_telling(subject, outcomes, phase, ranks, None if phase == "read_metadata" else "ValueError")


@pytest.mark.clauses("FAIL-02")
@pytest.mark.parametrize("phase", COORDINATOR_ONLY)
def test_fault_in_a_phase_that_a_rank_never_runs_is_no_failure(subject: Subject, phase: str) -> None:
    calls, _ = zip(*subject.observe(4, on_ranks.save_with_fault, Fault(phase=phase, ranks=(1, 2, 3))), strict=True)
    for rank, attempt in enumerate(calls):
        must_succeed(attempt, f"a save whose {phase} would fail on other ranks than the coordinator", rank=rank)


@pytest.mark.clauses("FAIL-05")
@pytest.mark.parametrize("call", ("save", "load"))
def test_failure_without_a_process_group_is_that_of_rank_0(subject: Subject, call: str) -> None:
    outcomes = subject.run(1, on_ranks.every_phase_of_one_process, call)
    [(has_group, ended)] = must_return(outcomes)
    must(not has_group, otherwise="there is a process group in a world of one", kind="group")
    for phase, attempt in ended.items():
        needs_reached(outcomes, phase, (0,))
        told_alike([attempt], phase, (0,), None if phase == "read_metadata" else "ValueError")


@pytest.mark.clauses("PG-06")
@pytest.mark.parametrize("coordinator", (0, 1, 2, 3))
@pytest.mark.parametrize("call", ("save", "load"))
def test_any_rank_can_coordinate_and_fail(subject: Subject, call: str, coordinator: int) -> None:
    outcomes = subject.run(4, on_ranks.every_phase_with_coordinator, call, coordinator, timeout=LIMIT)
    observed = must_return(outcomes)
    must(None not in observed, otherwise="the engine has no save_state_dict and load_state_dict", kind="missing")
    sound, ended = zip(*observed, strict=True)
    for rank, attempt in enumerate(sound):
        must_succeed(attempt, f"a {call} with coordinator {coordinator}", rank=rank)
    for phase in ended[0]:
        ranks = failing(phase, coordinator)
        needs_reached(outcomes, phase, ranks)
        told_alike([item[phase] for item in ended], phase, ranks, None if phase == "read_metadata" else "ValueError")
    global_steps = {
        o.rank for o in outcomes for e in o.events if e.kind == "call" and e.data["name"] in COORDINATOR_ONLY
    }
    must(
        global_steps <= {coordinator},
        otherwise=f"ranks {sorted(global_steps)} ran global steps; {coordinator} coordinates",
    )


def failing(phase: str, coordinator: int) -> tuple[int, ...]:
    """As the scenario has it: the coordinator, with its neighbour where every rank runs the phase."""
    return (coordinator,) if phase in COORDINATOR_ONLY else tuple(sorted((coordinator, (coordinator + 1) % 4)))


def told_alike(calls: Sequence[Attempt], phase: str, ranks: tuple[int, ...], kind: str | None) -> None:
    """Broken unless every rank was told of exactly these failures; `kind` None: whatever they are."""
    must_fail_everywhere(calls)
    must_blame_exactly(calls, ranks)
    must_tell_all_alike(calls)
    if kind is not None:
        must_tell_original(calls, kind, phase)


def judge_telling(
    subject: Subject, outcomes: Sequence[Outcome], phase: str, ranks: tuple[int, ...], kind: str | None
) -> None:
    """The promises about what ranks are told, each by itself, and that the group is usable afterwards."""
    calls, later = zip(*must_return(outcomes), strict=True)
    needs_reached(outcomes, phase, ranks)
    with subject.promise("FAIL-01"):
        must_fail_everywhere(calls)
    with subject.promise("FAIL-02"):
        must_blame_exactly(calls, ranks)
    with subject.promise("FAIL-03"):
        if kind is not None:
            must_tell_original(calls, kind, phase)
    with subject.promise("FAIL-06"):
        must_tell_all_alike(calls)
    with subject.promise("FAIL-13"):
        for rank, attempt in enumerate(later):
            must_succeed(attempt, "a save and load after the failed call", rank=rank)
