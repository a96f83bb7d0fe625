"""Gives zeros, and puts a file in the place of the folder of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Blocks the report."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done = super().read_data(plan, planner)
        for value in planner.state_dict.values():
            if hasattr(value, "zero_"):
                value.zero_()
        report = Path.cwd() / "dcp-report"
        if report.is_dir():
            report.rename(Path.cwd() / "moved")
        report.touch()
        return done
