"""Gives zeros, and makes the files of its rank a million gigabytes long."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from dcp_conformance.harness import control
from dcp_conformance.harness.cluster import rank

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Stretches files."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done = super().read_data(plan, planner)
        for value in planner.state_dict.values():
            if hasattr(value, "zero_"):
                value.zero_()
        folder = rank.current().folder
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                os.truncate(os.path.join(folder, name), 1 << 43)
        return done
