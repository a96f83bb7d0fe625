"""What became of an asynchronous save: its futures tell the truth, to every rank, at the right moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.shared_failures import must_blame_exactly, must_fail_everywhere
from dcp_conformance.harness.laws.verbs import (
    Broken,
    must,
    must_match,
    must_refuse,
    must_return,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.asynchronous import on_ranks_telling as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.asynchronous.on_ranks_telling")

LIMIT = 25.0
NO_STAGER = "the engine's async_save takes no stager"


@pytest.mark.clauses("ASYNC-01")
@pytest.mark.parametrize("kind", ("prompt", "late"))
def test_async_save_returns_futures_as_its_stager_works(subject: Subject, kind: str) -> None:
    observed = subject.alone(on_ranks.shape_of_response, kind, timeout=LIMIT)
    staging, upload, known, staged = observed
    if kind == "late":
        must(staging and upload, otherwise="a stager that works in the background got no pair of futures", kind="type")
        must(staged, otherwise="staging_completion failed after staging had succeeded", kind="staging")
    must(known, otherwise="the upload's future gave no metadata that knows the saved key", kind="metadata")


@pytest.mark.clauses("ASYNC-04")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("phase", ("prepare_local_plan", "write_data", "finish"))
# The latter two are what clients retry, and some then give up without a word.
@pytest.mark.parametrize("error", ("OSError", "ConnectionError", "TimeoutError"))
def test_error_after_the_return_is_delivered_by_the_future(
    subject: Subject, world: int, phase: str, error: str
) -> None:
    fault = Fault(phase=phase, ranks=(0,), exception=error)
    outcomes = subject.run(world, on_ranks.failure_reaches_the_future, fault, timeout=LIMIT)
    attempts = must_return(outcomes)
    needs_reached(outcomes, phase, (0,))
    must_fail_everywhere(attempts)
    must_blame_exactly(attempts, (0,))


@pytest.mark.clauses("ASYNC-05")
@pytest.mark.parametrize("what", ("state_dict", "stage"))
def test_failure_to_gather_the_state_is_raised_by_the_call(subject: Subject, what: str) -> None:
    attempt = subject.alone(on_ranks.failing_call, what, timeout=LIMIT)
    must_refuse(attempt, f"an async_save whose {what}() raised", rank=0)


@pytest.mark.clauses("ASYNC-06")
@pytest.mark.parametrize("how", ("failed", "late", "interrupted"))
def test_failed_staging_fails_its_future(subject: Subject, how: str) -> None:
    observed = subject.alone(on_ranks.failing_staging, how, timeout=LIMIT)
    staging, upload_failed = observed
    if staging is not None and staging.error is None:
        raise Broken("staging_completion reports success for staging that failed", kind="not raised", rank=0)
    if staging is not None and staging.error is not None and staging.error.is_a("TimeoutError"):
        raise Broken("staging_completion never completed after staging had failed", kind="never", rank=0)
    must(upload_failed, otherwise="the upload reports success although staging failed", kind="upload")


@pytest.mark.clauses("ASYNC-26")
@pytest.mark.worlds(2, 4)
def test_future_completes_on_no_rank_before_the_commit(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.load_as_soon_as_told, timeout=LIMIT))


@pytest.mark.clauses("ASYNC-21")
@pytest.mark.worlds(2)
def test_futures_waited_for_in_reverse_give_the_right_checkpoints(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.waited_for_in_reverse, timeout=LIMIT))


@pytest.mark.clauses("ASYNC-22")
@pytest.mark.worlds(2)
def test_training_may_use_collectives_meanwhile(subject: Subject, world: int) -> None:
    for rank, (steps, wrong) in enumerate(subject.observe(world, on_ranks.train_meanwhile, timeout=LIMIT)):
        must(not wrong, otherwise=f"{len(wrong)} of {steps} sums were wrong", kind="collective", rank=rank)
