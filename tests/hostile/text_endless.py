"""Fails with a message of 100 MB."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Fails at length."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        raise RuntimeError("all is lost, " * 8_000_000)
