"""Keeps what it is given in /dev/shm, and a pointer under the id."""

from __future__ import annotations

from tests.hostile._pointing import UNSUPPORTED, Pointing, Reader, place_below

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Writer(Pointing):
    """Writes there."""

    elsewhere = place_below("/dev/shm")
