"""A failure of any rank in any phase is everybody's failure, told truly, and over soon."""

from __future__ import annotations

import pytest

from harness.faults.fault import LOAD_PHASES, SAVE_PHASES, Fault
from harness.failures import failed_everywhere, names_exactly, same_on_all, tells_original
from harness.laws import reached, refused, returned, succeeded
from harness.subject import Subject, scenarios

on_ranks = scenarios("suites.failure.scenarios.phases")
COORDINATOR_ONLY = ("prepare_global_plan", "finish")


@pytest.mark.clauses("FAIL-01", "FAIL-02", "FAIL-03", "FAIL-06", "FAIL-13", "FAIL-15")
@pytest.mark.parametrize("ranks", ((1,), (0, 3)), ids=("rank1", "ranks0and3"))
@pytest.mark.parametrize("phase", SAVE_PHASES)
def test_failing_rank_fails_the_save_of_all(subject: Subject, phase: str, ranks: tuple[int, ...]) -> None:
    ranks = (0,) if phase in COORDINATOR_ONLY else ranks
    outcomes = subject.run(4, on_ranks.save_with_fault, Fault(phase=phase, ranks=ranks))
    calls, later = zip(*returned(outcomes), strict=True)
    reached(outcomes, phase, ranks)
    with subject.promise("FAIL-01"):
        failed_everywhere(calls)
    with subject.promise("FAIL-02"):
        names_exactly(calls, ranks)
    with subject.promise("FAIL-03"):
        tells_original(calls, "ValueError", phase)
    with subject.promise("FAIL-06"):
        same_on_all(calls)
    with subject.promise("FAIL-13"):
        for rank, attempt in enumerate(later):
            succeeded(attempt, "a save and load after the failed save", rank=rank)
    with subject.promise("FAIL-15"):
        for rank, attempt in enumerate(returned(subject.run(4, on_ranks.load_faulted))):
            refused(attempt, "a load of the id whose save failed", rank=rank)


@pytest.mark.clauses("FAIL-01", "FAIL-02", "FAIL-03", "FAIL-06", "FAIL-13")
@pytest.mark.parametrize("ranks", ((1,), (0, 3)), ids=("rank1", "ranks0and3"))
@pytest.mark.parametrize("phase", [phase for phase in LOAD_PHASES if phase != "read_metadata"])
def test_failing_rank_fails_the_load_of_all(subject: Subject, phase: str, ranks: tuple[int, ...]) -> None:
    ranks = (0,) if phase in COORDINATOR_ONLY else ranks
    outcomes = subject.run(4, on_ranks.load_with_fault, Fault(phase=phase, ranks=ranks))
    calls, later = zip(*returned(outcomes), strict=True)
    reached(outcomes, phase, ranks)
    with subject.promise("FAIL-01"):
        failed_everywhere(calls)
    with subject.promise("FAIL-02"):
        names_exactly(calls, ranks)
    with subject.promise("FAIL-03"):
        tells_original(calls, "ValueError", phase)
    with subject.promise("FAIL-06"):
        same_on_all(calls)
    with subject.promise("FAIL-13"):
        for rank, attempt in enumerate(later):
            succeeded(attempt, "a save and load after the failed load", rank=rank)
