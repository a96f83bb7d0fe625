"""Operations that fail in each of their phases in turn, and are repeated at once by the same caller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dcp_conformance.harness.faults.fault import LOAD_PHASES, PLANNER_PHASES, SAVE_PHASES, Fault
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject import engine_calls
from dcp_conformance.harness.subject.looking import uses_storage
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.core.commit.looks import Retry
from dcp_conformance.suites.core.commit.unstorable import Unstorable

# Phases of the coordinator alone.
OF_ONE = ("prepare_global_plan", "finish", "create_global_plan")
SAVING = (*SAVE_PHASES, "create_local_plan", "finish_plan", "resolve_data")
LOADING = (*LOAD_PHASES, "create_local_plan", "finish_plan", "resolve_tensor")
# The storage's own finish fails at what it is given: there is no tap before which the backend's code did not run.
UNSTORABLE = "its own finish, at metadata that cannot be stored"


def retried(session: Session, reuse: bool) -> list[Retry]:
    """Retry all phases of a save, then all of a load. reuse: the second try is made with the objects of the first."""
    if not (uses_storage(session, "save") and uses_storage(session, "load")):
        session.excuse("the engine takes no storage that could fail")
    return [*_saves(session, reuse), *_loads(session, reuse)]


def _saves(session: Session, reuse: bool) -> Iterator[Retry]:
    for phase in SAVING:
        checkpoint_id, faults = session.new_id(f"save-{phase}"), (_fault(session, phase),)
        broken = faults if phase not in PLANNER_PHASES else ()
        planner = {"planner": engine_calls.planner(session, "Save", faults=faults)} if not broken else {}
        yield _saved_twice(session, phase, checkpoint_id, session.writer(checkpoint_id, faults=broken), planner, reuse)
    checkpoint_id = session.new_id("save-unstorable")
    planner = {"planner": Unstorable(engine_calls.planner(session, "Save", faults=()))}
    retry = _saved_twice(session, UNSTORABLE, checkpoint_id, session.writer(checkpoint_id), planner, reuse)
    if retry.failed.error is not None:  # a store that keeps no planner data has nothing to fail at
        yield retry


def _saved_twice(
    session: Session, phase: str, checkpoint_id: Any, writer: Any, planner: dict[str, Any], reuse: bool
) -> Retry:
    state, whole = _own(session, session.rank), _whole(session)
    failed = session.attempt(session.save, state, checkpoint_id, writer=writer, **planner)
    again = session.attempt(session.save, state, checkpoint_id, writer=writer if reuse else None)
    target = blank(whole)
    if again.ok:
        session.load(target, checkpoint_id)
    return Retry(
        call="save", phase=phase, failed=failed, again=again, found=differences(whole, target) if again.ok else []
    )


def _loads(session: Session, reuse: bool) -> Iterator[Retry]:
    checkpoint_id, whole = session.new_id("loads"), _whole(session)
    session.save(_own(session, session.rank), checkpoint_id)
    for phase in LOADING:
        faults = (_fault(session, phase),)
        broken = faults if phase not in PLANNER_PHASES else ()
        planner = {"planner": engine_calls.planner(session, "Load", faults=faults)} if not broken else {}
        reader, target = session.reader(checkpoint_id, faults=broken), blank(whole)
        failed = session.attempt(session.load, target, checkpoint_id, reader=reader, **planner)
        again = session.attempt(session.load, target, checkpoint_id, reader=reader if reuse else None)
        found = differences(whole, target) if again.ok else []
        yield Retry(call="load", phase=phase, failed=failed, again=again, found=found)


def _fault(session: Session, phase: str) -> Fault:
    """Make the first call of the phase fail, on the last rank that has it."""
    return Fault(phase=phase, ranks=(0 if phase in OF_ONE else session.world_size - 1,), last=1)


def _own(session: Session, rank: int) -> dict[str, Any]:
    own: dict[str, Any] = {f"own{rank}.{number}": coded(8 * rank + number, (9,), version=1) for number in range(3)}
    return {key: value.to(session.device) for key, value in own.items()}


def _whole(session: Session) -> dict[str, Any]:
    return {key: value for rank in range(session.world_size) for key, value in _own(session, rank).items()}
