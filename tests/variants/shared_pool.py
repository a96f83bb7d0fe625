"""Keeps contents by their digest in one pool beside all checkpoints, which share what is equal.

Nothing is taken out of the pool: a sweep of its own would do that, which knows all checkpoints. So what a checkpoint
needs lies outside its folder, and nobody can count or change it by looking there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from pathlib import Path

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _store

_KEY = re.compile(rb"[0-9a-f]{64}")


class PoolStore:
    """`<parent>/pool/<sha-256>` holds contents; the names in a checkpoint's folder hold the key of one each."""

    def __init__(self, root: Path) -> None:
        self._pool, self._names = root.parent / "pool", _store.FolderStore(root)

    def put(self, name: str, content: bytes) -> None:
        self._names.put(name, self._pooled(content))

    def get(self, name: str) -> bytes:
        entry = self._names.get(name)
        signature, key = entry[:32], entry[32:]
        if not _KEY.fullmatch(key):
            raise ValueError(f"the name {name} is damaged: it leads to no content")
        return signature + (self._pool / key.decode()).read_bytes()

    def commit(self, name: str, content: bytes, *, drop: Collection[str]) -> None:
        self._names.commit(name, self._pooled(content), drop=drop)

    def names(self) -> list[str]:
        return self._names.names()

    def _pooled(self, content: bytes) -> bytes:
        """Put a content into the pool, and return what leads to it."""
        # The digest in front differs by name; what is shared is the content behind it.
        signature, rest = content[:32], content[32:]
        key = hashlib.sha256(rest).hexdigest()
        if not (self._pool / key).exists():
            _store.write_file(self._pool / key, rest)
        return signature + key.encode()


class Writer(_store.Writer):
    """Writes contents once for all checkpoints."""

    def store(self) -> PoolStore:
        return PoolStore(self.root)


class Reader(_store.Reader):
    """Reads contents by the names of one checkpoint."""

    def store(self) -> PoolStore:
        return PoolStore(self.root)


backend = Backend(
    name="shared_pool",
    writer=Writer,
    reader=Reader,
    unsupported={**_store.UNSUPPORTED, "stored_bytes": "contents lie in a pool that all checkpoints share"},
)
