"""Data goes to the disk through C++: torch writes each object to a path, and Python never sees its bytes leave."""

from __future__ import annotations

import io
import os

import torch

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _store


class NativeStore(_store.FolderStore):
    """Objects as files of torch.save, synced and renamed once they are whole."""

    def put(self, name: str, content: bytes) -> None:
        with _store.replacing(self.root / name) as temporary:
            torch.save(torch.frombuffer(bytearray(content), dtype=torch.uint8), str(temporary))
            with open(temporary, "rb") as stream:
                os.fsync(stream.fileno())

    def get(self, name: str) -> bytes:
        if not _store.is_data(name):
            return super().get(name)
        stored = io.BytesIO((self.root / name).read_bytes())
        return bytes(torch.load(stored, weights_only=True).numpy())


class Writer(_store.Writer):
    """Writes through C++; the commit is a plain file."""

    def store(self) -> NativeStore:
        return NativeStore(self.root)


class Reader(_store.Reader):
    """Reads what C++ wrote."""

    def store(self) -> NativeStore:
        return NativeStore(self.root)


backend = Backend(name="native_writer", writer=Writer, reader=Reader, unsupported=_store.UNSUPPORTED)
