"""Names every object by its content: equal items are one object, and no object ever changes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _store

_KEY = re.compile(rb"[0-9a-f]{64}")


class ContentStore:
    """`objects/<sha-256>` holds contents, `names/<name>` the key of a content: the names are what commits refer to.

    Several names may share a content, so contents are never removed while a name that may use them is there.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._names = root, _store.FolderStore(root / "names")

    def put(self, name: str, content: bytes) -> None:
        # The digest in front differs by name; what is shared is the content behind it.
        signature, rest = content[:32], content[32:]
        key = hashlib.sha256(rest).hexdigest()
        path = self._root / "objects" / key
        with self._locked(fcntl.LOCK_SH):
            if not path.exists():
                _store.write_file(path, rest)
            self._names.put(name, signature + key.encode())

    def get(self, name: str) -> bytes:
        entry = self._names.get(name)
        signature, key = entry[:32], entry[32:]
        if not _KEY.fullmatch(key):
            raise ValueError(f"the name {name} is damaged: it leads to no object")
        return signature + (self._root / "objects" / key.decode()).read_bytes()

    def commit(self, name: str, content: bytes, *, drop: Collection[str]) -> None:
        self.put(name, content)
        for old in drop:
            (self._root / "names" / old).unlink(missing_ok=True)
        for folder in {(self._root / "names" / old).parent for old in drop} - {self._root / "names"}:
            if not any(folder.glob("*-*")):
                shutil.rmtree(folder, ignore_errors=True)
        with self._locked(fcntl.LOCK_EX):
            self._sweep()

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        """Nothing is swept between the look for a content and the name that leads to it."""
        _store.make_folder(self._root)
        with open(self._root / "lock", "a") as stream:
            fcntl.flock(stream, kind)
            yield

    def names(self) -> list[str]:
        return self._names.names()

    def _sweep(self) -> None:
        """Remove contents that no name leads to."""
        used = {path.read_bytes()[32:].decode(errors="replace") for path in self._entries()}
        for path in (self._root / "objects").iterdir():
            if path.name not in used and "." not in path.name:
                path.unlink(missing_ok=True)

    def _entries(self) -> list[Path]:
        found = (self._root / "names").rglob("*")
        return [path for path in found if path.is_file() and not path.name.endswith(".tmp")]


class Writer(_store.Writer):
    """Writes contents once."""

    def store(self) -> ContentStore:
        return ContentStore(self.root)


class Reader(_store.Reader):
    """Reads contents by their names."""

    def store(self) -> ContentStore:
        return ContentStore(self.root)


backend = Backend(name="content_addressed", writer=Writer, reader=Reader, unsupported=_store.UNSUPPORTED)
