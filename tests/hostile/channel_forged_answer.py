"""Gives zeros, and answers the judge itself before its scenario can."""

from __future__ import annotations

import torch

from dcp_conformance.harness.cluster import codec, rank
from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Zeroes what it reads and sends an answer without a difference."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        here = rank._Here
        assert here.channel is not None
        number = rank.current().run
        here.channel.send(("answer", number, "returned", codec.dumps([]), 0.1, (), True))
