"""Do the same thing many times and count what stays open."""

from __future__ import annotations

import gc
import os
import time

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject import engine_calls
from dcp_conformance.harness.subject.session import Session

# A backend may close in the background; the contract gives it this many seconds.
GRACE = 5.0


def handles_over_operations(session: Session, operations: int) -> tuple[int, int]:
    """Open file descriptors after the third operation and after the last: saves, loads and failed ones in turn.

    What fails does so in turn for a name that was not saved, and in the midst of reading and of writing.
    """
    early = 0
    session.save({"t": coded(1, (100,), version=0), "n": 0}, session.new_id("failing"))
    for number in range(1, operations + 1):
        _operation(session, number)
        if number == 3:
            early = _settled(limit=None)
    return early, _settled(limit=early + 2)


def _operation(session: Session, number: int) -> None:
    state = session.suited({"t": coded(1, (100,), version=number), "n": number})
    checkpoint_id = session.new_id(f"at{number // 3}")
    if number % 3 == 0:
        session.save(state, checkpoint_id)
    elif number % 3 == 1 and number > 3:
        session.load(blank(state), checkpoint_id)
    elif number > 3:
        _failing(session, number // 3 % 3, state)


def _failing(session: Session, way: int, state: dict[str, object]) -> None:
    checkpoint_id = session.new_id("failing")
    if way == 0 or not (session.takes("save", "planner") and session.takes("load", "planner")):
        session.attempt(session.load, {"absent": torch.zeros(2)}, checkpoint_id)
    elif way == 1:
        planner = engine_calls.planner(session, "Save", faults=(Fault(phase="resolve_data", ranks=(0,)),))
        session.attempt(session.save, state, session.new_id("never-saved"), planner=planner)
    else:
        planner = engine_calls.planner(session, "Load", faults=(Fault(phase="resolve_tensor", ranks=(0,)),))
        session.attempt(session.load, blank(state), checkpoint_id, planner=planner)


def _settled(limit: int | None) -> int:
    """Return the number of open descriptors, waited for while it is above `limit`."""
    deadline = time.monotonic() + GRACE
    while True:
        gc.collect()  # an exception may still hold what its frames were about to close
        count = len(os.listdir("/proc/self/fd"))
        if limit is None or count <= limit or time.monotonic() > deadline:
            return count
        time.sleep(0.05)
