"""Saves that overlap never mix, and a program's end does not cut them off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import Broken, NotApplicable, must, must_match, must_succeed
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.asynchronous import on_ranks_overlap as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.asynchronous.on_ranks_overlap")

if TYPE_CHECKING:
    from dcp_conformance.suites.asynchronous import on_ranks_queued as queued
else:
    queued = module_on_ranks("dcp_conformance.suites.asynchronous.on_ranks_queued")


@pytest.mark.clauses("ASYNC-09")
@pytest.mark.worlds(2)
@pytest.mark.parametrize(("phase", "style"), (("set_up", "constructor"), ("write_data", "passed")))
def test_overlapping_saves_never_exchange_data(subject: Subject, world: int, phase: str, style: str) -> None:
    observed = subject.observe(world, on_ranks.two_saves_out_of_step, phase, style, timeout=30.0)
    for rank, saves in enumerate(observed):
        for number, (ended, found, loaded) in enumerate(saves):
            if ended.error is not None:
                must(number > 0, otherwise="the first of two overlapping saves failed", kind="failed", rank=rank)
                continue
            assert loaded is not None, "every save that reported success is loaded"
            must_succeed(loaded, f"a load of save {number}, which had reported success", rank=rank)
            if found:
                what = f"save {number} of two that overlapped reported success, and {found[0].sentence()}"
                raise Broken(what, kind="mixed", rank=rank)


@pytest.mark.clauses("ASYNC-09")
def test_more_saves_than_a_queue_holds_are_each_their_own(subject: Subject) -> None:
    for number, (ended, found) in enumerate(subject.alone(queued.many_at_once, timeout=60.0)):
        if ended.error is not None:
            must(number > 0, otherwise="the first of many saves failed", kind="failed", rank=0)
            continue  # a later one may be refused
        must_match([found], f"what save {number + 1} of many at once stored, which reported success,")


@pytest.mark.clauses("ASYNC-07", "ASYNC-08")
def test_program_that_ends_completes_its_saves_and_tells_of_failures(subject: Subject) -> None:
    (code, output, loaded, found, one_failed) = subject.alone(on_ranks.end_right_after_saving)
    with subject.promise("ASYNC-08"):
        must(code is not None, otherwise="the program did not end", kind="hang", rank=0)
        must_succeed(loaded, "a load of what was being saved when the program ended", rank=0)
        must(not found, otherwise=f"the save was cut off: {[item.sentence() for item in found]}", kind="values")
    with subject.promise("ASYNC-07"):
        if not one_failed:
            raise NotApplicable("the engine has a store of its own, and no save can be made to fail in it")
        trace = code != 0 or "injected by dcp-conformance" in output
        must(
            trace,
            otherwise="a save failed, the program ended with code 0, and nothing was written to its output",
            kind="silent",
        )
