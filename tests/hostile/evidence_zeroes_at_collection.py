"""Gives the right values, and zeroes them when garbage is collected."""

from __future__ import annotations

import gc
from collections.abc import Callable

from tests.hostile._zeroing import UNSUPPORTED, Later, Writer

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Later):
    """Leaves something behind that zeroes what it read."""

    def leave(self, zero: Callable[..., None]) -> None:
        gc.callbacks.append(zero)
        gc.set_threshold(100_000)
