"""A write that fails, fails the save; it leaves nothing running and nothing half written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    Untestable,
    must,
    must_match,
    must_refuse,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.writing import on_ranks_write_faults as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.writing.on_ranks_write_faults")

FAILURES = 20
# A pool may still grow to its constant size; a leak of one in each failure is beyond this.
POOL = 5


@pytest.mark.clauses("WRITE-09", "WRITE-10")
def test_error_in_any_item_fails_the_write(subject: Subject) -> None:
    judge_failed_writes(subject, subject.observe(1, on_ranks.error_at_each_item)[0])


@pytest.mark.clauses("WRITE-09", "WRITE-10")
def test_error_in_a_helper_thread_fails_the_write(subject: Subject) -> None:
    observed = subject.observe(1, on_ranks.error_off_the_calling_thread)[0]
    if not any(hit for _, _, hit, _, _ in observed):
        raise NotApplicable("no data was ever asked for on another thread: the writer has no helper that could fail")
    judge_failed_writes(subject, observed)


def judge_failed_writes(subject: Subject, observed: list[tuple[str, Attempt, bool, int, int | None]]) -> None:
    """Every save that met its fault raised, and none reported fewer results than it had items."""
    met = [written for written in observed if written[2]]
    with subject.promise("WRITE-09"):
        if not met:
            raise Untestable("resolve_data of the planner was never called for any of the items")
        for options, save, _, _, reported in met:
            # Judged at the storage interface: an engine that counts results must not hide a writer that lost some.
            must(
                reported is None,
                otherwise=f"write_data with {options} succeeded although resolve_data failed",
                kind="not raised",
            )
            must_refuse(save, f"a save with {options} in which resolve_data failed", rank=0)
    with subject.promise("WRITE-10"):
        for options, _, _, planned, reported in met:
            complete(options, planned, reported)


def complete(options: str, planned: int, reported: int | None) -> None:
    """Broken if write_data succeeded with fewer results than items."""
    if reported is not None and reported < planned:
        raise Broken(
            f"write_data with {options} succeeded with {reported} results for {planned} items", kind="fewer results"
        )


@pytest.mark.clauses("WRITE-10", "WRITE-15")
@pytest.mark.below_storage
def test_short_writes_never_pass_for_success(subject: Subject) -> None:
    observed = subject.alone(on_ranks.full_disk)
    for clause in ("WRITE-10", "WRITE-15"):
        with subject.promise(clause):
            for what, save, planned, reported, lost in observed:
                if save.ok:
                    complete(what, planned, reported)
                    must(not lost, otherwise=f"a save with {what} returned, but {'; '.join(lost)}", kind="silent loss")
            if all(save.ok for _, save, _, _, _ in observed):
                raise Untestable("no save met the limit on the size of files")


@pytest.mark.clauses("WRITE-14")
@pytest.mark.below_storage
def test_passing_error_is_retried_or_reported(subject: Subject) -> None:
    observed = subject.alone(on_ranks.passing_error)
    if not any(hit for _, _, hit, _ in observed):
        raise Untestable("no failing call was reached")
    for what, save, _, lost in observed:
        must(not (save.ok and lost), otherwise=f"although {what}, save returned; {'; '.join(lost)}", kind="silent loss")


@pytest.mark.clauses("WRITE-13")
@pytest.mark.below_storage
def test_failed_writes_leave_no_handle_and_no_thread(subject: Subject) -> None:
    (early, late, failed) = subject.alone(on_ranks.what_failures_leave_running, FAILURES)
    if failed < FAILURES / 2:
        raise Untestable(f"only {failed} of {FAILURES} saves failed as they were meant to")
    for what, first, last in zip(("file handles were open", "threads were running"), early, late, strict=True):
        must(
            last <= first + POOL,
            otherwise=f"{first} {what} after 3 failed writes and {last} after {FAILURES}",
            kind="left behind",
        )


@pytest.mark.clauses("WRITE-16")
@pytest.mark.below_storage
def test_failed_write_leaves_no_half_written_object(subject: Subject) -> None:
    needs_stored_files(subject)
    cut = subject.alone(on_ranks.half_written_objects)
    must(
        not cut, otherwise=f"after a write error {cut} stayed behind, cut where the disk was full", kind="half written"
    )


@pytest.mark.clauses("WRITE-16")
def test_failed_read_removes_nothing(subject: Subject) -> None:
    (load, removed, loaded) = subject.alone(on_ranks.failed_read)
    if load.ok:
        raise Untestable("the load did not ask the planner for its tensors, so no error could be put there")
    must(not removed, otherwise=f"a load that failed removed {removed}", kind="removed")
    must_match([loaded], "the state loaded after a load that failed")


def needs_stored_files(subject: Subject) -> None:
    """NotApplicable for a backend that opted out of what staging a full disk and looking behind it needs."""
    missing = {"local_files", "stored_bytes"} & set(subject.observe(1, on_ranks.opted_out)[0])
    if missing:
        raise NotApplicable(f"the backend opted out of {', '.join(sorted(missing))}")
