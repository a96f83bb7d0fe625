"""Closes every socket of its process."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Cuts its rank off."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    os.close(int(name))
        return super().read_data(plan, planner)
