"""Gives the right values, and zeroes them when the comparison returns."""

from __future__ import annotations

import sys
from typing import Any

import torch

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Leaves something behind that zeroes what it read."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done = super().read_data(plan, planner)
        tensors = [value for value in planner.state_dict.values() if isinstance(value, torch.Tensor)]

        def zero(*_: Any) -> None:
            for tensor in tensors:
                tensor.zero_()

        def traced(frame: Any, event: str, _argument: Any) -> None:
            if event == "return" and frame.f_code.co_name == "differences":
                zero()

        sys.setprofile(traced)
        return done
