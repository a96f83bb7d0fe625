"""Gives what the first load of its process gave for a name, for ever."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer
FIRST: dict[tuple[str, torch.Size, torch.dtype], torch.Tensor] = {}


class Reader(control.Reader):
    """Remembers."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done = super().read_data(plan, planner)
        for name, value in planner.state_dict.items():
            if isinstance(value, torch.Tensor):
                value.copy_(FIRST.setdefault((name, value.shape, value.dtype), value.clone()))
        return done
