"""Saving from a process of its own is saving like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import ExceptionRecord
from dcp_conformance.harness.laws.shared_failures import failures_of
from dcp_conformance.harness.laws.verbs import (
    Broken,
    Untestable,
    described,
    must,
    must_match,
    must_refuse,
    must_succeed,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.asynchronous import on_ranks_processes as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.asynchronous.on_ranks_processes")

NO_PROCESS = "the engine's async_save knows no background process"
# What a broken pipe to a dead process looks like where nobody turned it into an error about saving.
RAW = ("BrokenPipeError", "EOFError", "ConnectionError")


@pytest.mark.clauses("ASYNC-11")
@pytest.mark.worlds(2)
def test_thread_and_process_store_the_same(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.thread_and_process)
    for way in observed[0]:
        must_match([found[way] for found in observed], f"the state saved in a {way}")


@pytest.mark.clauses("ASYNC-12")
def test_background_process_survives_failures_and_is_replaced_after_death(subject: Subject) -> None:
    observed = subject.alone(on_ranks.after_failure_and_death, group=True)
    must_refuse(observed["failed"], "a save in a background process whose write_data raised", rank=0)
    must_succeed(observed["next"], "the save after a failed one", rank=0)
    must_match([observed["found"]])
    if not observed["killed"]:
        raise Untestable("no background process was found that could be killed")
    for attempt in observed["later"]:
        if attempt.error is not None and raw(attempt.error, [*failures_of(attempt).values()]):
            told = described(attempt.error)
            raise Broken(f"a save after the death of the background process gave {told}", kind="raw error", rank=0)


@pytest.mark.clauses("ASYNC-13")
def test_process_works_without_a_group(subject: Subject) -> None:
    observed = subject.alone(on_ranks.without_group)
    must_succeed(observed[0], "a save in a background process with no_dist=True", rank=0)
    must_match([observed[1]])


@pytest.mark.clauses("ASYNC-14")
def test_process_uses_the_group_of_each_call(subject: Subject) -> None:
    observed = [seen for seen in subject.observe(3, on_ranks.in_changing_groups) if seen is not None]
    for place, (together, alone, found) in enumerate(observed):
        must_succeed(together, "a save of ranks 1 and 2 in background processes", rank=place + 1)
        must_succeed(alone, "a save and load on another group after that", rank=place + 1)
        must(
            not found,
            otherwise=f"the checkpoint of the second group holds {[d.sentence() for d in found]}",
            rank=place + 1,
        )


@pytest.mark.clauses("ASYNC-20")
def test_start_up_failures_of_the_process_are_told(subject: Subject) -> None:
    ended = subject.alone(on_ranks.starting_up, group=True)
    for missing in ("MASTER_ADDR", "MASTER_PORT"):
        error = must_refuse(ended[missing], f"a save with a prefix store and without {missing}", rank=0)
        named = error.is_a("CheckpointException")
        must(named, otherwise=f"without {missing} it raised {described(error)}", kind="other exception")
    must_refuse(ended["port"], "the future of a save whose background process had no port", rank=0)


@pytest.mark.clauses("RSRC-09")
def test_process_needs_no_descriptor_for_each_tensor(subject: Subject) -> None:
    attempt = subject.alone(on_ranks.many_tensors, 3000, 1024, group=True)
    must_succeed(attempt, "a save of 3000 tensors in a background process under a limit of 1024 descriptors", rank=0)


def raw(error: ExceptionRecord, inner: list[ExceptionRecord]) -> bool:
    """Whether an error, or what it reports, is one of transport that says nothing about saving."""
    return any(item.is_a(name) for item in (error, *inner) for name in RAW)
