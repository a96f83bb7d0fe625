"""A load that stands still while its id is overwritten, and neighbours that are discarded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.equal import equal_state
from dcp_conformance.harness.states.values import blank
from dcp_conformance.harness.subject.looking import uses_storage
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.durability.concurrency.on_ranks_concurrency import NEW, OLD

# A store that lets readers and writers in one by one must not be stopped for ever.
PATIENCE = 2.0


def overwrite_in_the_middle(session: Session, stop: str, fails: bool) -> dict[str, Any]:
    """Overwrite an id while a load of it stands still: before `read_data`, or before its second tensor.

    fails: the overwrite has written when it fails, and has nothing to say about what is being read.
    """
    if not (uses_storage(session, "save") and uses_storage(session, "load")):
        session.excuse("the engine takes no storage whose load could be made to wait")
    checkpoint_id, states = session.new_id(), {version: _state(session, version) for version in (OLD, NEW)}
    session.save(states[OLD], checkpoint_id)
    gate, target = _Gate(stop), blank(states[OLD])
    ended: list[Attempt] = []
    reader = interpose(session.reader(checkpoint_id), ("read_data",), gate)
    thread = threading.Thread(
        target=lambda: ended.append(session.attempt(session.load, target, checkpoint_id, reader=reader))
    )
    thread.start()
    try:
        gate.reached.wait(PATIENCE)
        faults = (Fault(phase="write_data", ranks=(0,), after=True),) if fails else ()
        saved = session.attempt(session.save, states[NEW], checkpoint_id, faults=faults)
    finally:
        gate.open.set()
        thread.join()
    unlike = {version: differences(state, target, limit=1) for version, state in states.items()}
    return {
        "reached": gate.reached.is_set(), "load": ended[0], "save": saved,
        "unlike": {version: [item.sentence() for item in unlike[version]] for version in unlike},
    }  # fmt: skip


def discard_in_turns(session: Session, first: bool) -> list[list[Difference]]:
    """Save the same three times, to three ids, and discard one after the other; what those that stay then give.

    first: the oldest goes first, else the newest.
    """
    ids = [session.new_id(f"turn{number}") for number in range(3)]
    for checkpoint_id in ids:
        session.save(_state(session, OLD), checkpoint_id)
    found = []
    while len(ids) > 1:
        into_subject(session.storage.discard, ids.pop(0 if first else -1))
        for checkpoint_id in ids:
            target = blank(_state(session, OLD))
            session.load(target, checkpoint_id)
            found.append(differences(_state(session, OLD), target))
    return found


def _state(session: Session, version: int) -> dict[str, Any]:
    return equal_state([0], version, objects="objects" not in session.storage.unsupported)


class _Gate:
    """Stops a load once at one place until it is opened, or for PATIENCE."""

    def __init__(self, stop: str) -> None:
        self._stop, self._targets = stop, 0
        self.reached, self.open = threading.Event(), threading.Event()

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if method == "resolve_tensor":
            self._targets += 1
            if self._stop == "target 2" and self._targets == 2:
                self._pass()
            return inner(*args, **kwargs)
        if self._stop == "read_data":
            self._pass()
        args = tuple(self._watched(arg) for arg in args)
        return inner(*args, **{name: self._watched(arg) for name, arg in kwargs.items()})

    def _watched(self, arg: Any) -> Any:
        return interpose(arg, ("resolve_tensor",), self) if hasattr(arg, "resolve_tensor") else arg

    def _pass(self) -> None:
        self.reached.set()
        self.open.wait(PATIENCE)
