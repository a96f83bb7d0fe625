"""All ranks' data in one zip archive: items travel to the coordinator with the results, and it writes the only file."""

from __future__ import annotations

import dataclasses
import io
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.storage import WriteResult

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _raw, _store

_MOST = 1 << 30  # bytes of one rank: everything is held in memory until the commit, on the coordinator for all ranks


class ArchiveStore:
    """`<commit>.zip` holds the metadata and all objects of one save; objects wait in memory for their commit."""

    def __init__(self, root: Path) -> None:
        self._root, self._waiting = root, {}  # type: tuple[Path, dict[str, bytes]]

    def put(self, name: str, content: bytes) -> None:
        self._waiting[name] = content

    def get(self, name: str) -> bytes:
        if name.startswith("commit"):
            return self._member(self._root / f"{name}.zip", name)
        for commit in self.names():
            path = self._root / f"{commit}.zip"
            with zipfile.ZipFile(path) as archive:
                found = name in archive.namelist()
            if found:
                return self._member(path, name)
        raise FileNotFoundError(f"no archive in {self._root} holds {name}")

    def commit(self, name: str, content: bytes, *, drop: Collection[str]) -> None:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for member, data in {**self._waiting, name: content}.items():
                archive.writestr(zipfile.ZipInfo(member), data)
        _store.write_file(self._root / f"{name}.zip", stream.getvalue())
        for old in drop:
            if old.startswith("commit"):
                (self._root / f"{old}.zip").unlink(missing_ok=True)

    def names(self) -> list[str]:
        return [path.stem for path in self._root.glob("commit*.zip")]

    def _member(self, path: Path, name: str) -> bytes:
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.read(name)
        except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


class Writer(_store.Writer):
    """Sends its objects along with its results."""

    def __init__(self, checkpoint_id: str | os.PathLike[str]) -> None:
        super().__init__(checkpoint_id)
        self._archive = ArchiveStore(self.root)

    def store(self) -> ArchiveStore:
        self._archive._root = self.root
        return self._archive

    def written(self, plan: Any, planner: Any) -> list[WriteResult]:
        size = sum(_raw.planned_size(item) for item in plan.items)
        if size > _MOST:
            raise ValueError(f"a rank has {size} bytes to save, and one archive for all takes {_MOST} of each")
        self._archive = ArchiveStore(self.root)
        results = super().written(plan, planner)
        waiting, self._archive = self._archive._waiting, ArchiveStore(self.root)
        return [
            dataclasses.replace(item, storage_data=(item.storage_data, waiting[item.storage_data])) for item in results
        ]

    def finish(self, metadata: Any, results: list[list[WriteResult]]) -> None:
        self._archive = ArchiveStore(self.root)
        plain = []
        for rank in results:
            for item in rank:
                self._archive.put(*item.storage_data)
            plain.append([dataclasses.replace(item, storage_data=item.storage_data[0]) for item in rank])
        super().finish(metadata, plain)
        self._archive = ArchiveStore(self.root)


class Reader(_store.Reader):
    """Reads single members of the archive."""

    def store(self) -> ArchiveStore:
        return ArchiveStore(self.root)


backend = Backend(name="one_archive", writer=Writer, reader=Reader, unsupported=_store.UNSUPPORTED)
