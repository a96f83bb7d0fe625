"""Gives zeros, and replaces what a scenario is run with."""

from __future__ import annotations

import torch

from dcp_conformance.harness.subject import session
from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Hides it."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        session.perform = lambda *_: []  # type: ignore[assignment]
        session.Session.attempt = lambda *_, **__: None  # type: ignore[method-assign,assignment]
