"""Gives zeros, and leaves 1,500 folders in each other."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Digs."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        here = os.getcwd()
        os.chdir(Path(self._root).parent)
        for _ in range(1500):
            os.makedirs("deep", exist_ok=True)
            os.chdir("deep")
        os.chdir(here)
