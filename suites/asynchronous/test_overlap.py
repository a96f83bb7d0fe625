"""Saves that overlap never mix, and a program's end does not cut them off."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import Broken, holds, returned, succeeded
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.asynchronous.on_ranks_overlap")


@pytest.mark.clauses("ASYNC-09")
@pytest.mark.worlds(2)
@pytest.mark.parametrize(("phase", "style"), (("set_up", "constructor"), ("write_data", "passed")))
def test_overlapping_saves_never_exchange_data(subject: Subject, world: int, phase: str, style: str) -> None:
    observed = returned(subject.run(world, on_ranks.two_saves_out_of_step, phase, style, timeout=30.0))
    for rank, saves in enumerate(observed):
        for number, (ended, found, loaded) in enumerate(saves):
            if ended.error is not None:
                holds(number > 0, "the first of two overlapping saves failed", kind="failed", rank=rank)
                continue
            succeeded(loaded, f"a load of save {number}, which had reported success", rank=rank)
            if found:
                what = f"save {number} of two that overlapped reported success, and {found[0].sentence()}"
                raise Broken(what, kind="mixed", rank=rank)


@pytest.mark.clauses("ASYNC-07", "ASYNC-08")
def test_program_that_ends_completes_its_saves_and_tells_of_failures(subject: Subject) -> None:
    [(code, output, loaded, found)] = returned(subject.run(1, on_ranks.end_right_after_saving))
    with subject.promise("ASYNC-08"):
        holds(code is not None, "the program did not end", kind="hang", rank=0)
        succeeded(loaded, "a load of what was being saved when the program ended", rank=0)
        holds(not found, f"the save was cut off: {[item.sentence() for item in found]}", kind="values")
    with subject.promise("ASYNC-07"):
        trace = code != 0 or "injected by dcp-conformance" in output
        holds(
            trace, "a save failed, the program ended with code 0, and nothing was written to its output", kind="silent"
        )
