"""Tells the judge so much that it could not keep it."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness import control
from dcp_conformance.harness.faults.storage import announce

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Floods."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        for _ in range(200):
            announce("call", name="x" * (1 << 20))
        return super().read_data(plan, planner)
