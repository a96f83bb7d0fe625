"""A pair that counts as false, so that torch quietly uses its own: nothing of this one ever runs."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED


class Writer(control.Writer):
    """Is nothing."""

    def __len__(self) -> int:
        return 0

    def write_data(self, plan: Any, planner: Any) -> Any:
        raise RuntimeError("never called")


class Reader(control.Reader):
    """Is nothing."""

    def __len__(self) -> int:
        return 0

    def read_data(self, plan: Any, planner: Any) -> Any:
        raise RuntimeError("never called")
