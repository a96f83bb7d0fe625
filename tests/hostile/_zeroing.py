"""What most hostile backends are: a reader that gives zeros, and then sees to it that nobody notices."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Zeroing(control.Reader):
    """Gives zeros for every tensor. `hide` is called after that."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done = super().read_data(plan, planner)
        tensors = [value for value in planner.state_dict.values() if isinstance(value, torch.Tensor)]
        for tensor in tensors:
            tensor.zero_()
        self.hide(tensors)
        return done

    def hide(self, tensors: list[torch.Tensor]) -> None:
        """Do what is to be done so that nobody notices."""
