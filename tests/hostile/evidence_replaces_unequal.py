"""Gives zeros, and makes tensors never differ."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Zeroes what it reads and replaces the operator that would show it."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done = super().read_data(plan, planner)
        for value in planner.state_dict.values():
            if isinstance(value, torch.Tensor):
                value.zero_()
        torch.Tensor.__ne__ = lambda left, right: torch.zeros_like(left, dtype=torch.bool)  # type: ignore
        return done
