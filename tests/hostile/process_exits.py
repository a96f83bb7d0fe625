"""Ends its process as if all were well."""

from __future__ import annotations

import os
from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Goes."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        os._exit(0)
