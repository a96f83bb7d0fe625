"""Loads that fail half-way, each followed by a sound one into the same objects."""

from __future__ import annotations

import threading
from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.core.loading.on_ranks_in_place_stateful import missing_objects

WAYS = ("resolve_tensor", "interrupt", "missing")
ITEMS = 5
FAILS_AT = 3


def load_after_failure(session: Session, way: str) -> tuple[list[Attempt], list[Difference]] | None:
    """Loads that fail in one way, then a clean one into the same objects; None where this way is not open."""
    state = {f"item{key}": coded(key, (16,), version=1) for key in range(ITEMS)}
    checkpoint_id, target = session.new_id(), blank(state)
    session.save(state, checkpoint_id)
    failed = _failing_loads(session, target, checkpoint_id, way)
    if failed is None:
        return None
    session.load(target, checkpoint_id)
    return failed, differences(state, target)


def _failing_loads(session: Session, target: dict[str, Any], checkpoint_id: Any, way: str) -> list[Attempt] | None:
    if way == "resolve_tensor":
        if not session.takes("load", "planner"):
            return None
        return [session.attempt(session.load, target, checkpoint_id, planner=_failing_planner(session))]
    if way == "interrupt":
        if not session.takes("load", "storage_reader"):
            return None
        fault = Fault(phase="read_data", ranks=(0,), exception="KeyboardInterrupt")
        return [session.attempt(session.load, target, checkpoint_id, faults=(fault,))]
    if session.takes("load", "storage_reader"):
        return None  # what storage does about missing objects is judged elsewhere
    return [session.attempt(session.load, target, checkpoint_id) for _ in missing_objects(session, checkpoint_id)]


def _failing_planner(session: Session) -> Any:
    lock, calls = threading.Lock(), [0]
    base: Any = session.tool("DefaultLoadPlanner")

    class Failing(base):  # type: ignore[misc]
        """Gives a target for the first items and no more, also when it is asked again."""

        def resolve_tensor(self, read_item: Any) -> torch.Tensor:
            with lock:  # storage may resolve on several threads
                calls[0] += 1
                count = calls[0]
            if count >= FAILS_AT:
                announce("fault", phase="resolve_tensor", what="raise")
                raise OSError(5, "injected by dcp-conformance in resolve_tensor")
            tensor: torch.Tensor = super().resolve_tensor(read_item)
            return tensor

    return into_subject(Failing)
