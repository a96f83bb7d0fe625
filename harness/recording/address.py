"""Sockets at paths of any length: the kernel takes 107 bytes, and scratch folders may lie deep."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def short(address: str) -> Iterator[str]:
    """Give a path that is short enough and leads to the same place while the context lasts."""
    folder, name = os.path.split(address)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)
