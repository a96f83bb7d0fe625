"""Gives the right values, and zeroes them when a timer of the process runs out."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.hostile._zeroing import UNSUPPORTED, Later, Writer

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Later):
    """Leaves something behind that zeroes what it read."""

    def leave(self, zero: Callable[..., None]) -> None:
        signal.signal(signal.SIGALRM, zero)
        signal.setitimer(signal.ITIMER_REAL, 0.4)
