"""Gives zeros, and makes tensors never differ for half a second."""

from __future__ import annotations

import threading

import torch

from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Hides it."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        real = torch.Tensor.__ne__
        torch.Tensor.__ne__ = lambda left, right: torch.zeros_like(left, dtype=torch.bool)  # type: ignore
        threading.Timer(0.5, lambda: setattr(torch.Tensor, "__ne__", real)).start()
