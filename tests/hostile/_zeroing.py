"""What most hostile backends are: a reader that gives zeros and hides it, or zeroes the right values later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Zeroing(control.Reader):
    """Gives zeros for every tensor. `hide` is called after that."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done = super().read_data(plan, planner)
        tensors = _tensors(planner)
        for tensor in tensors:
            tensor.zero_()
        self.hide(tensors)
        return done

    def hide(self, tensors: list[torch.Tensor]) -> None:
        """Do what is to be done so that nobody notices."""


class Later(control.Reader):
    """Gives the right values. `leave` is called with what zeroes them, whatever it is called with."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done = super().read_data(plan, planner)
        tensors = _tensors(planner)

        def zero(*_: Any) -> None:
            for tensor in tensors:
                tensor.zero_()

        self.leave(zero)
        return done

    def leave(self, zero: Callable[..., None]) -> None:
        """Leave something behind that calls it."""
        raise NotImplementedError


def _tensors(planner: Any) -> list[torch.Tensor]:
    return [value for value in planner.state_dict.values() if isinstance(value, torch.Tensor)]
