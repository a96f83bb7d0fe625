"""Gives the right values, and zeroes them half a second later."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.hostile._zeroing import UNSUPPORTED, Later, Writer

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Later):
    """Leaves a timer behind."""

    def leave(self, zero: Callable[..., None]) -> None:
        threading.Timer(0.5, zero).start()
