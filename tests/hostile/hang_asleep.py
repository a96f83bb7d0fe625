"""Never comes back from a load."""

from __future__ import annotations

import time
from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Sleeps."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        time.sleep(100_000)
