"""Data goes to the disk through shared memory: no call ever carries its bytes, and a recorder has to look for them."""

from __future__ import annotations

import mmap
import os

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _store


class MappedStore(_store.FolderStore):
    """Objects are stored into a map of their file, which is flushed and synced before it gets its name."""

    def put(self, name: str, content: bytes) -> None:
        with _store.replacing(self.root / name) as temporary, open(temporary, "w+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, len(content))
            with mmap.mmap(stream.fileno(), len(content)) as mapped:
                mapped[:] = content
                mapped.flush()
            os.fsync(stream.fileno())


class Writer(_store.Writer):
    """Writes through maps; the commit is a plain file."""

    def store(self) -> MappedStore:
        return MappedStore(self.root)


backend = Backend(name="mapped_writer", writer=Writer, reader=_store.Reader, unsupported=_store.UNSUPPORTED)
