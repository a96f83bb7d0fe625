"""async_save stores what was there when it was called, and tells what became of it."""

from __future__ import annotations

import pytest

from harness.faults.fault import Fault
from harness.laws import Broken, reached, returned, same
from harness.subject import Subject, scenarios

on_ranks = scenarios("suites.asynchronous.scenarios.snapshot")


@pytest.mark.clauses("ASYNC-02")
@pytest.mark.worlds(1, 2)
def test_changes_after_staging_do_not_reach_the_checkpoint(subject: Subject, world: int) -> None:
    same(returned(subject.run(world, on_ranks.mutate_after_staging)))


@pytest.mark.clauses("ASYNC-04")
def test_write_error_after_the_return_is_delivered_by_the_future(subject: Subject) -> None:
    outcomes = subject.run(
        1, on_ranks.failure_reaches_the_future, Fault(phase="write_data", ranks=(0,), exception="OSError")
    )
    observed = returned(outcomes)
    reached(outcomes, "write_data", (0,))
    for rank, upload in enumerate(observed):
        if upload.error is None or not upload.error.is_a("CheckpointException"):
            what = "completed without an error" if upload.error is None else f"raised {upload.error.type_name}"
            raise Broken(f"the upload future {what}; write_data had failed", kind="not raised", rank=rank)


@pytest.mark.clauses("ASYNC-25")
def test_writer_and_reader_work_in_another_thread(subject: Subject) -> None:
    same(returned(subject.run(1, on_ranks.save_and_load_in_a_thread)))
