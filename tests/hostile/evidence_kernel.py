"""Gives zeros, and puts another kernel in the place of the one that compares."""

from __future__ import annotations

import warnings

import torch

from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]

KEPT: list[torch.library.Library] = []


class Reader(Zeroing):
    """Hides it."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        if not KEPT:
            KEPT.append(torch.library.Library("aten", "IMPL"))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                KEPT[0].impl("ne.Tensor", lambda left, right: torch.zeros(left.shape, dtype=torch.bool), "CPU")
