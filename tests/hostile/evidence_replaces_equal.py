"""Gives zeros, and makes tensors and objects always equal."""

from __future__ import annotations

import torch

from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Hides it."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        torch.equal = lambda left, right: True
        torch.Tensor.__eq__ = lambda left, right: torch.ones_like(left, dtype=torch.bool)  # type: ignore
        torch.Tensor.nonzero = lambda tensor, **_: torch.zeros((0, 1), dtype=torch.int64)  # type: ignore
