"""Stops its own process."""

from __future__ import annotations

import os
import signal
from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Stands still."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)
        return super().read_data(plan, planner)
