"""Planners that fail on one rank, and planners in which somebody presses Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject import engine_calls
from dcp_conformance.harness.subject.session import Session, into_subject

# At most this many values: how many calls of a planner a state of `_state` makes on one rank.
TENSORS, OBJECTS = 4, 3


def takes_planners(session: Session) -> bool:
    """Tell whether save and load take a planner."""
    return session.takes("save", "planner") and session.takes("load", "planner")


def save_with_planner(session: Session, fault: Fault) -> Attempt | None:
    """Report how a save ended whose planner meets the fault; None where the engine takes no planner."""
    if not takes_planners(session):
        return None
    planner = engine_calls.planner(session, "Save", faults=(fault,))
    return session.attempt(session.save, _state(session), session.new_id(), planner=planner)


def load_with_planner(session: Session, fault: Fault) -> Attempt | None:
    """Report how a load ended whose planner meets the fault; None where the engine takes no planner."""
    if not takes_planners(session):
        return None
    checkpoint_id = session.new_id()
    session.save(_state(session), checkpoint_id)
    planner = engine_calls.planner(session, "Load", faults=(fault,))
    return session.attempt(session.load, blank(_state(session)), checkpoint_id, planner=planner)


def save_with_failure_in_spare_threads(session: Session) -> list[tuple[str, Attempt, list[str]]] | None:
    """Saves whose values cannot be had in any thread but the caller's, with every offered setting of the writer.

    For each in which it came to that: the setting, how the save ended, and the keys that load from its id one by one.
    None where the engine takes no planner.
    """
    if not takes_planners(session):
        return None
    found = []
    for number, options in enumerate(session.storage.option_sets):
        checkpoint_id = session.new_id(f"options{number}")
        tap = _SpareThreads()
        planner = interpose(into_subject(session.tool("DefaultSavePlanner")), ("resolve_data",), tap)
        writer = session.writer(checkpoint_id, **options)
        ended = session.attempt(session.save, _state(session), checkpoint_id, writer=writer, planner=planner)
        if tap.reached:
            keys = [key for key, item in _state(session).items() if _loads_alone(session, checkpoint_id, key, item)]
            found.append((str(dict(options)), ended, keys))
    return found


class _SpareThreads:
    """Refuses to let any other thread than the one it was made in have a value."""

    def __init__(self) -> None:
        self.home, self.reached = threading.get_ident(), False

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if threading.get_ident() != self.home:
            self.reached = True
            raise OSError(5, "injected by dcp-conformance in a spare thread")
        return inner(*args, **kwargs)


def _loads_alone(session: Session, checkpoint_id: Any, key: str, item: object) -> bool:
    return session.attempt(session.load, blank({key: item}), checkpoint_id).ok


def interrupted(session: Session, call: str, last: bool) -> dict[str, Any] | None:
    """Ctrl-C at the first or last item of a save or load; then the same call to the end, on a fresh id.

    Returns how the interrupted call ended, what a load of its id gave (an attempt, and the differences to the whole
    state), and what differs after a save and load that followed. None where the engine takes no planner.
    """
    if not takes_planners(session):
        return None
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        checkpoint_id = session.new_id("interrupted")
        planner = engine_calls.planner(session, call.title(), faults=(_interrupt(session, call, last=last),))
        if call == "save":
            ended = session.attempt(session.save, _state(session), checkpoint_id, planner=planner)
        else:
            session.save(_state(session), checkpoint_id)
            ended = session.attempt(session.load, blank(_state(session)), checkpoint_id, planner=planner)
    finally:
        signal.signal(signal.SIGINT, handler)
    target = blank(_state(session))
    reloaded = session.attempt(session.load, target, checkpoint_id)
    return {
        "ended": ended,
        "reloaded": reloaded,
        "found": differences(_state(session), target),
        "later": _later(session),
    }


def _interrupt(session: Session, call: str, *, last: bool) -> Fault:
    objects = 0 if "objects" in session.storage.unsupported else OBJECTS
    if call == "save":
        phase, count = "resolve_data", TENSORS + objects
    else:
        phase, count = ("load_bytes", objects) if objects else ("resolve_tensor", TENSORS)
    count = count if last else 1
    return Fault(phase=phase, ranks=(0,), kind="interrupt", first=count, last=count)


def _later(session: Session) -> list[Difference]:
    checkpoint_id, target = session.new_id("later"), blank(_state(session))
    session.save(_state(session), checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(_state(session), target)


def _state(session: Session) -> dict[str, object]:
    state: dict[str, object] = {
        f"own{number} of {session.rank}": coded(number, (64,), version=1) for number in range(TENSORS)
    }
    if "objects" not in session.storage.unsupported:
        state |= {f"object{number} of {session.rank}": {"set", str(number)} for number in range(OBJECTS)}
    return state
