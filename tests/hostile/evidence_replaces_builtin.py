"""Gives zeros, and replaces a function of Python itself."""

from __future__ import annotations

import builtins

import torch

from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Hides it."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        builtins.isinstance = lambda *_: False  # type: ignore[assignment]
