"""Never comes back from a load, and burns processor time."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Burns."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        while True:
            planner.burns = 0
