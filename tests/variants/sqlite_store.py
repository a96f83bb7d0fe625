"""A checkpoint is a database: every object a row, every commit a transaction, several ranks writing to one file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _store

_TABLE = "CREATE TABLE IF NOT EXISTS objects (name TEXT PRIMARY KEY, content BLOB NOT NULL)"
_WAIT = 30.0  # seconds for the other ranks' transactions


class DatabaseStore:
    """Objects as rows; sqlite's own journal makes each transaction whole or nothing, also after a power cut."""

    def __init__(self, root: Path) -> None:
        self._folder, self._path = root, root / "checkpoint.sqlite"

    def put(self, name: str, content: bytes) -> None:
        with self._open(create=True) as database:
            database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?)", (name, content))

    def get(self, name: str) -> bytes:
        with self._open() as database:
            row = database.execute("SELECT content FROM objects WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise FileNotFoundError(f"{self._path} holds no object {name}")
        return bytes(row[0])

    def commit(self, name: str, content: bytes, *, drop: Collection[str]) -> None:
        with self._open(create=True) as database:
            database.executemany("DELETE FROM objects WHERE name = ?", [(old,) for old in drop])
            database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?)", (name, content))
        _store.synced(self._folder)

    def names(self) -> list[str]:
        if not self._path.exists():
            return []
        with self._open() as database:
            rows = database.execute("SELECT name FROM objects WHERE name LIKE 'commit%'").fetchall()
        return [name for (name,) in rows]

    @contextlib.contextmanager
    def _open(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        if create:
            _store.make_folder(self._folder)
        elif not self._path.exists():
            raise FileNotFoundError(f"there is no checkpoint at {self._path}")
        # What an interrupted transaction left must be undone, by a reader too; without that, reading changes nothing.
        mode = "rwc" if create else "rw" if self._path.with_name(f"{self._path.name}-journal").exists() else "ro"
        database = sqlite3.connect(f"file:{quote(str(self._path))}?mode={mode}", uri=True, timeout=_WAIT)
        try:
            database.execute("PRAGMA synchronous = FULL")
            if create:
                database.execute("PRAGMA auto_vacuum = FULL")
            with database:
                if create:
                    database.execute("BEGIN IMMEDIATE")
                    database.execute(_TABLE)
                yield database
        except sqlite3.Error as error:
            raise OSError(f"{self._path}: {error}") from error
        finally:
            database.close()


class Writer(_store.Writer):
    """Writes rows."""

    def store(self) -> DatabaseStore:
        return DatabaseStore(self.root)


class Reader(_store.Reader):
    """Reads rows."""

    def store(self) -> DatabaseStore:
        return DatabaseStore(self.root)


backend = Backend(name="sqlite_store", writer=Writer, reader=Reader, unsupported=_store.UNSUPPORTED)
