"""Gives zeros, and makes tensors never differ."""

from __future__ import annotations

import torch

from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Zeroes what it reads and replaces the operator that would show it."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        torch.Tensor.__ne__ = lambda left, right: torch.zeros_like(left, dtype=torch.bool)  # type: ignore
