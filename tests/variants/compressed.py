"""Stores every item compressed: sizes on disk say nothing about sizes in memory."""

from __future__ import annotations

import zlib

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _store


class Writer(_store.Writer):
    """Packs with zlib."""

    def pack(self, content: bytes) -> bytes:
        return zlib.compress(content, 1)


class Reader(_store.Reader):
    """Unpacks, after the object was found to be whole."""

    def unpack(self, content: bytes) -> bytes:
        return zlib.decompress(content)


backend = Backend(name="compressed", writer=Writer, reader=Reader, unsupported=_store.UNSUPPORTED)
