"""A save stores the values that the caller's stream computes, and nothing that any stream writes later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import mentions, must, must_refuse
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.accelerator.seen import must_be_right

if TYPE_CHECKING:
    from dcp_conformance.suites.accelerator import on_ranks_queues as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.accelerator.on_ranks_queues")

STAGERS = ("none", "pinned", "pinned_without_blocking", "pinned_in_a_thread", "shared")


@pytest.mark.clauses("WRITE-20")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("stream", ("default", "side"))
def test_save_stores_values_that_were_still_being_computed(subject: Subject, world: int, stream: str) -> None:
    must_be_right(subject, "WRITE-20", subject.observe(world, on_ranks.save_queued_values, stream))


@pytest.mark.clauses("DEV-03")
@pytest.mark.parametrize("stager", STAGERS)
@pytest.mark.parametrize("stream", ("default", "side"))
def test_async_save_stores_values_that_were_still_being_computed(subject: Subject, stream: str, stager: str) -> None:
    must_be_right(subject, "DEV-03", subject.observe(1, on_ranks.stage_queued_values, stager, stream))


@pytest.mark.clauses("DEV-02")
@pytest.mark.parametrize("stager", STAGERS)
def test_what_another_stream_writes_after_staging_is_not_stored(subject: Subject, stager: str) -> None:
    must_be_right(subject, "DEV-02", subject.observe(1, on_ranks.change_on_another_stream, stager))


@pytest.mark.clauses("DEV-04")
def test_pinned_memory_does_not_grow_from_save_to_save(subject: Subject) -> None:
    early, late, state = subject.alone(on_ranks.pinned_after_saves)
    grown = f"{late - early} bytes more are pinned after five saves of {state} bytes than after two"
    must(late - early < state, otherwise=grown, kind="memory")


@pytest.mark.clauses("ASYNC-10")
def test_group_without_a_cpu_backend_is_refused(subject: Subject) -> None:
    error = must_refuse(
        subject.alone(on_ranks.group_without_cpu, group=True), "an async_save in a group without a CPU backend", rank=0
    )
    told = error.is_a("AssertionError") and mentions(error, "CPU")
    must(told, otherwise=f"it raised {error.type_name}, not an AssertionError that names the CPU", kind="refusal")
