"""A planner's failure is a failure like any other, and so is Ctrl-C while it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.shared_failures import must_blame_exactly, must_fail_everywhere, must_tell_original
from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    Untestable,
    must,
    must_match,
    must_refuse,
    must_return,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.failure import on_ranks_planners as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.failure.on_ranks_planners")

LIMIT = 10.0
SAVE = ("create_local_plan", "create_global_plan", "finish_plan", "resolve_data")
LOAD = ("create_local_plan", "create_global_plan", "finish_plan", "load_bytes", "resolve_tensor", "commit_tensor")


@pytest.mark.clauses("FAIL-17")
@pytest.mark.parametrize(("call", "method"), [("save", name) for name in SAVE] + [("load", name) for name in LOAD])
def test_failing_planner_fails_all_ranks(subject: Subject, call: str, method: str) -> None:
    ranks = (0,) if method == "create_global_plan" else (1,)
    run = on_ranks.save_with_planner if call == "save" else on_ranks.load_with_planner
    outcomes = subject.run(2, run, Fault(phase=method, ranks=ranks), timeout=LIMIT)
    attempts = must_return(outcomes)
    if None in attempts:
        raise NotApplicable("the engine takes no planner")
    needs_reached(outcomes, method, ranks)
    must_fail_everywhere(attempts)
    must_blame_exactly(attempts, ranks)
    must_tell_original(attempts, "ValueError", method)


@pytest.mark.clauses("FAIL-19")
@pytest.mark.parametrize("last", (False, True), ids=("first_item", "last_item"))
@pytest.mark.parametrize("call", ("save", "load"))
def test_ctrl_c_ends_the_call_and_leaves_nothing_in_part(subject: Subject, call: str, last: bool) -> None:
    outcomes = subject.run(1, on_ranks.interrupted, call, last, timeout=LIMIT)
    [observed] = must_return(outcomes)
    if observed is None:
        raise NotApplicable("the engine takes no planner")
    if not any(event.kind == "fault" for event in outcomes[0].events):
        raise Untestable("the planner was never asked for the item at which Ctrl-C was to be pressed")
    must_refuse(observed["ended"], f"a {call} in which Ctrl-C was pressed", rank=0)
    partly = observed["reloaded"].ok and observed["found"]
    if partly:
        raise Broken(f"the interrupted save loads in part: {partly[0].sentence()}", kind="partial", rank=0)
    must(call == "save" or observed["reloaded"].ok, otherwise="the checkpoint loads no more after an interrupted load")
    must_match([observed["later"]])


@pytest.mark.clauses("FAIL-15")
def test_failure_in_a_spare_thread_leaves_nothing_that_loads(subject: Subject) -> None:
    found = subject.alone(on_ranks.save_with_failure_in_spare_threads, timeout=LIMIT)
    if not found:
        raise NotApplicable("values are only asked for in the thread that saves")
    for options, ended, keys in found:
        said = "raised" if ended.error else "returned"
        what = f"with {options} a save that could not read some values {said}, and {keys[:3]} load from its id"
        must(not keys, otherwise=what, kind="partial")
