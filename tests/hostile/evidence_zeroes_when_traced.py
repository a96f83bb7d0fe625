"""Gives the right values, and zeroes them when the comparison returns."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tests.hostile._zeroing import UNSUPPORTED, Later, Writer

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Later):
    """Leaves something behind that zeroes what it read."""

    def leave(self, zero: Callable[..., None]) -> None:
        def traced(frame: Any, event: str, _argument: Any) -> None:
            if event == "return" and frame.f_code.co_name == "differences":
                zero()

        sys.setprofile(traced)
