"""Every exception is told, also those that no handler of ordinary exceptions sees or that cannot be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.shared_failures import (
    failures_of,
    must_blame_exactly,
    must_fail_everywhere,
    must_tell_original,
)
from dcp_conformance.harness.laws.verbs import (
    Broken,
    Untestable,
    described,
    mentions,
    must,
    must_refuse,
    must_return,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.failure import on_ranks_exceptions as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.failure.on_ranks_exceptions")

# Torch is known to hang here; a failure is told within a moment.
LIMIT = 8.0


@pytest.mark.clauses("FAIL-07")
def test_checkpoint_exception_escapes_ordinary_handlers_and_tells_all(subject: Subject) -> None:
    outcomes = subject.run(1, on_ranks.save_with_fault, Fault(phase="write_data", ranks=(0,)))
    [attempt] = must_return(outcomes)
    needs_reached(outcomes, "write_data", (0,))
    must_fail_everywhere([attempt])
    assert attempt.error is not None
    must("BaseException" in attempt.error.mro, otherwise="it is not a BaseException", kind="class")
    must("Exception" not in attempt.error.mro, otherwise="`except Exception` catches it", kind="class")
    for what, text in (("rank", "0"), ("cause", "injected by dcp-conformance in write_data"), ("trace", "through_tap")):
        must(
            text in attempt.error.text,
            otherwise=f"its text does not tell the {what}: {attempt.error.text[:200]!r}",
            kind="text",
        )


@pytest.mark.clauses("FAIL-08")
@pytest.mark.parametrize("kind", ("KeyboardInterrupt", "SystemExit"))
def test_interrupt_of_one_rank_is_its_failure_on_all(subject: Subject, kind: str) -> None:
    fault = Fault(phase="write_data", ranks=(1,), exception=kind)
    outcomes = subject.run(2, on_ranks.save_with_fault, fault, timeout=LIMIT)
    attempts = must_return(outcomes)
    needs_reached(outcomes, "write_data", (1,))
    must_fail_everywhere(attempts)
    must_blame_exactly(attempts, (1,))
    must_tell_original(attempts, kind, "write_data")


@pytest.mark.clauses("FAIL-09", "FAIL-10")
@pytest.mark.parametrize("kind", ("HoldsLock", "TwoArguments"))
def test_exception_that_cannot_be_sent_is_reported_all_the_same(subject: Subject, kind: str) -> None:
    fault = Fault(phase="write_data", ranks=(1,), exception=kind)
    outcomes = subject.run(2, on_ranks.save_with_fault, fault, timeout=LIMIT)
    attempts = must_return(outcomes)
    needs_reached(outcomes, "write_data", (1,))
    with subject.promise("FAIL-09"):
        must_fail_everywhere(attempts)
        must_blame_exactly(attempts, (1,))
        for rank, attempt in enumerate(attempts):
            told = failures_of(attempt)[1]
            if not mentions(attempt.error, "injected by dcp-conformance in write_data"):
                raise Broken(f"it was told that rank 1 raised {described(told)}", kind="exception changed", rank=rank)


@pytest.mark.clauses("FAIL-16")
@pytest.mark.worlds(2, 4)
def test_load_that_fails_on_one_rank_is_loaded_on_none(subject: Subject, world: int) -> None:
    outcomes = subject.run(
        world, on_ranks.load_that_fails_on_one_rank, Fault(phase="read_data", ranks=(1,)), timeout=LIMIT
    )
    observed = must_return(outcomes)
    needs_reached(outcomes, "read_data", (1,))
    for rank, (attempt, loaded) in enumerate(observed):
        must_refuse(attempt, "a load that failed on rank 1", rank=rank)
        must(
            loaded == 0,
            otherwise="load_state_dict was called after a load that failed on rank 1",
            kind="loaded",
            rank=rank,
        )


@pytest.mark.clauses("FAIL-18")
def test_what_storage_raises_can_be_sent_to_other_processes(subject: Subject) -> None:
    found = subject.alone(on_ranks.raised_by_storage)
    if not found:
        raise Untestable("the storage raised nothing, whatever was done to it")
    for where, error, lost in found:
        must(not lost, otherwise=f"{where} raised {error}, which {lost}", kind="not picklable")
