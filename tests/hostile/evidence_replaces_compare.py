"""Gives zeros, and makes the comparison find no difference."""

from __future__ import annotations

import torch

from dcp_conformance.harness.states import compare
from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Zeroes what it reads and replaces who would notice."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        compare.differences = lambda *_, **__: []
