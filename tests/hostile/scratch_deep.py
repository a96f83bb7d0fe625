"""Gives zeros, and leaves 1,500 folders in each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Digs."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done = super().read_data(plan, planner)
        for value in planner.state_dict.values():
            if hasattr(value, "zero_"):
                value.zero_()
        here = os.getcwd()
        os.chdir(Path(self._root).parent)
        for _ in range(1500):
            os.makedirs("deep", exist_ok=True)
            os.chdir("deep")
        os.chdir(here)
        return done
