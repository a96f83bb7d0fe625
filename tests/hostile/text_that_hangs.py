"""Fails with an error whose text never ends."""

from __future__ import annotations

import time
from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Endless(Exception):
    """Tells for ever."""

    def __str__(self) -> str:
        time.sleep(100_000)
        return ""


class Reader(control.Reader):
    """Fails."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        raise Endless
