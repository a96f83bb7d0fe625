"""Gives zeros, under a mode below autograd in which nothing differs from anything."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Nothing(TorchDispatchMode):
    """No two tensors differ."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        return result.zero_() if "aten.ne." in str(function) else result


class Reader(Zeroing):
    """Hides it."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        Nothing().__enter__()
