"""Failures outside the guarded steps: before the ranks first meet, and after they last did."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject import engine_calls
from dcp_conformance.harness.subject.session import Session

FAILING = 1


class Brittle:
    """A Stateful of which one method raises on one rank."""

    def __init__(self, method: str, *, rank: int) -> None:
        self.method = method if rank == FAILING else ""

    def state_dict(self) -> dict[str, torch.Tensor]:
        self._fail("state_dict")
        return {"value": coded(3, (6,), version=1)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self._fail("load_state_dict")

    def _fail(self, method: str) -> None:
        if method == self.method:
            announce("fault", phase=method, what="raise")
            raise ValueError(f"injected by dcp-conformance in {method}")


def save_outside(session: Session, what: str) -> Attempt:
    """Report how a save ended in which `what` (state_dict, reset, no_id) went wrong on one rank."""
    state = {"s": Brittle(what, rank=session.rank), "t": coded(1, (4,), version=1)}
    if what == "no_id" and not session.may_leave_out("save", "checkpoint_id"):
        session.excuse("its save cannot be called without an id")
    if what == "no_id" and session.rank == FAILING:
        announce("fault", phase=what, what="raise")
        return session.attempt(engine_calls.call_as_is, session, "save", state)
    return session.attempt(session.save, state, session.new_id(), **_storage_fault(what))


def load_outside(session: Session, what: str) -> Attempt:
    """Report how a load ended in which `what` (state_dict, reset, load_state_dict) went wrong on one rank."""
    sound = {"s": Brittle("", rank=session.rank), "t": coded(1, (4,), version=1)}
    checkpoint_id = session.new_id()
    session.save(sound, checkpoint_id)
    target = {"s": Brittle(what, rank=session.rank), "t": torch.zeros(4, dtype=torch.float64)}
    return session.attempt(session.load, target, checkpoint_id, **_storage_fault(what))


def independent_save_with_fault(session: Session, fault: Fault) -> Attempt:
    """Report how a save without collectives ended on this rank."""
    state = {"t": coded(session.rank, (4,), version=1)}
    return session.attempt(session.save, state, session.new_id(), faults=(fault,), use_collectives=False)


def _storage_fault(what: str) -> dict[str, Any]:
    # An id that is passed along is what makes an engine call reset.
    return {"style": "passed", "faults": (Fault(phase="reset", ranks=(FAILING,)),)} if what == "reset" else {}
