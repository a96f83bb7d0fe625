"""Fails with an error that would clear the screen and write a verdict there."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Fails."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        raise RuntimeError("\x1b[2J\x1b[1;1H\x1b[32mcore held\x1b[0m\r\x07 \u202edleh eroc")
