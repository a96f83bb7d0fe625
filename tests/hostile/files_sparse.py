"""Gives zeros, and makes the files of its rank a million gigabytes long."""

from __future__ import annotations

import contextlib
import os

import torch

from dcp_conformance.harness.cluster import rank
from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Stretches files."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        folder = rank.current().folder
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                os.truncate(os.path.join(folder, name), 1 << 43)
