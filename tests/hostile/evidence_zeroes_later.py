"""Gives the right values, and zeroes them half a second later."""

from __future__ import annotations

import threading
from typing import Any

import torch

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Leaves a timer behind."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done = super().read_data(plan, planner)
        tensors = [value for value in planner.state_dict.values() if isinstance(value, torch.Tensor)]
        threading.Timer(0.5, lambda: [tensor.zero_() for tensor in tensors]).start()
        return done
