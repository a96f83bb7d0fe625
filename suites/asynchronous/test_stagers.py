"""Who stages, when it is waited for, when it is closed, and what stays of the copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import Untestable, must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.asynchronous import on_ranks_telling as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.asynchronous.on_ranks_telling")

LIMIT = 25.0
NO_STAGER = "the engine's async_save takes no stager"


@pytest.mark.clauses("ASYNC-03")
def test_stager_used_again_leaves_the_earlier_save_alone(subject: Subject) -> None:
    found = subject.alone(on_ranks.stager_reused, timeout=LIMIT)
    must_match([found], "the first of two checkpoints")


@pytest.mark.clauses("ASYNC-15", "ASYNC-18")
@pytest.mark.parametrize("fails", (False, True), ids=("sound", "failing"))
def test_stager_of_the_caller_is_synchronised_and_stays_open(subject: Subject, fails: bool) -> None:
    observed = subject.alone(on_ranks.callers_stager, fails, timeout=LIMIT)
    at_return, at_end, later = observed
    with subject.promise("ASYNC-15"):
        must(
            "stage" in at_return, otherwise=f"the stager was not asked to stage; called were {at_return}", kind="unused"
        )
        must(
            not any("close" in call for call in later),
            otherwise=f"the caller's stager was closed: {at_end}",
            kind="closed",
        )
    with subject.promise("ASYNC-18"):
        waited = "synchronize_staging" in at_return
        must(waited, otherwise=f"the call returned without synchronize_staging: {at_return}", kind="not synchronised")


@pytest.mark.clauses("ASYNC-15", "ASYNC-16")
@pytest.mark.parametrize("fails", (False, True), ids=("sound", "failing"))
def test_staged_copy_is_released_after_the_upload(subject: Subject, fails: bool) -> None:
    (seen, alive) = subject.alone(on_ranks.staged_copy_after_upload, fails, timeout=LIMIT)
    if not seen:
        raise Untestable("the writer was given no staged tensor whose memory could be watched")
    must(not alive, otherwise=f"{alive} of {seen} staged tensors are still in memory 5 s after the upload", kind="kept")


@pytest.mark.clauses("ASYNC-19")
def test_writer_that_is_a_stager_stages(subject: Subject) -> None:
    (calls, found) = subject.alone(on_ranks.writer_that_stages, timeout=LIMIT)
    must("stage" in calls, otherwise=f"the writer was not asked to stage; called were {calls}", kind="unused")
    must_match([found])


@pytest.mark.clauses("ASYNC-23")
def test_staging_keeps_shared_memory_shared(subject: Subject) -> None:
    (tied, views, overlap) = subject.alone(on_ranks.shared_memory_in_a_copy)
    must(tied, otherwise="one tensor under two names was copied twice", kind="copied twice")
    must(views, otherwise="two equal views were copied twice", kind="copied twice")
    must(overlap, otherwise="overlapping views of one buffer no longer share memory", kind="copied twice")
