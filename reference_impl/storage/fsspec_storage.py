"""Checkpoints on any file system that fsspec knows, in the same files as on a local one.

A local file system reached through fsspec is used directly, with all guarantees of ``local_files``. Elsewhere the
commit is one put of ``.metadata``, which object stores make atomic; how durable a put is, is the store's business.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from fsspec.core import url_to_fs  # type: ignore[import-untyped]

from dcp_conformance.reference_impl.errors import CorruptCheckpointError
from dcp_conformance.reference_impl.files.local_files import LocalFiles, resolve_folder
from dcp_conformance.reference_impl.files.naming import without_credentials
from dcp_conformance.reference_impl.storage.filesystem_reader import FileSystemReader
from dcp_conformance.reference_impl.storage.filesystem_writer import FileSystemWriter


class RemoteFiles:
    """Files below one address; the same methods as ``LocalFiles``."""

    def __init__(self, address: str, options: dict[str, Any]) -> None:
        self.fs, self._root = url_to_fs(address, **options)
        # It appears in messages, in warnings and in the metadata.
        self.folder = without_credentials(address)

    def path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def make_folder(self) -> None:
        self.fs.makedirs(self._root, exist_ok=True)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Open a new file; it is removed again if anything fails."""
        try:
            with self.fs.open(self.path(name), "wb") as stream:
                yield stream
        except BaseException:
            with contextlib.suppress(Exception):  # the failure that led here is the one to report
                self.fs.rm_file(self.path(name))
            raise

    def publish(self, name: str, data: bytes, token: str) -> None:
        self.fs.pipe_file(self.path(name), data)

    def holds(self, name: str, data: bytes) -> bool:
        """Tell whether the object ``name`` is there and holds exactly ``data``."""
        try:
            return bool(self.fs.cat_file(self.path(name)) == data)
        except Exception:  # a store's own kinds of errors: what cannot be read is not known to be there
            return False

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    def sync_folder(self) -> None:
        """Do nothing: a store keeps what it has accepted."""

    @contextlib.contextmanager
    def commit_lock(self) -> Iterator[bool]:
        """Stores have no locks, so only what the replaced checkpoint names is ever removed."""
        yield False

    def names(self) -> list[str]:
        # fsspec caches listings for the life of the file system object; other ranks write meanwhile.
        self.fs.invalidate_cache(self._root)
        try:
            found = self.fs.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        return sorted(entry["name"].rsplit("/", 1)[-1] for entry in found if entry["type"] == "file")

    def identity(self, name: str) -> Any:
        self.fs.invalidate_cache(self._root)
        try:
            info = self.fs.info(self.path(name))
        except FileNotFoundError:
            return None
        return tuple(str(info.get(key)) for key in ("size", "created", "mtime", "LastModified", "ETag", "etag"))

    def open(self, name: str) -> RemoteBlob:
        # As for local files: a name comes out of the metadata, which anybody may have written.
        if name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise CorruptCheckpointError(f"the metadata names the file {name!r}, which lies outside of the checkpoint")
        return RemoteBlob(self.fs.open(self.path(name), "rb"), name)


class RemoteBlob:
    """A file that is read in ranges; the same methods as ``LocalBlob``."""

    def __init__(self, stream: Any, name: str) -> None:
        self.name = name
        self._stream = stream
        self.size = stream.seek(0, os.SEEK_END)

    def read_into(self, target: memoryview, offset: int) -> None:
        self._stream.seek(offset)
        done = 0
        while done < len(target):
            data = self._stream.read(len(target) - done)
            # A store may answer with less than was asked for, and only nothing at all is the end.
            if not data:
                raise CorruptCheckpointError(f"the file {self.name!r} ends at byte {offset + done}, more is needed")
            target[done : done + len(data)] = data
            done += len(data)

    def read(self, offset: int, length: int) -> bytearray:
        data = bytearray(length)
        self.read_into(memoryview(data), offset)
        return data

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> RemoteBlob:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class FsspecWriter(FileSystemWriter):
    """``FileSystemWriter`` for fsspec addresses; ``options`` go to the fsspec file system."""

    def __init__(self, path: str | os.PathLike[str], *args: Any, options: dict[str, Any] | None = None, **kwargs: Any):
        self._options = options or {}
        super().__init__(path, *args, **kwargs)

    def _open(self, path: str | os.PathLike[str]) -> None:
        self.files = open_files(path, self._options, sync=self.sync_files)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Tell whether fsspec knows the file system of this address. Never raises."""
        return known_to_fsspec(checkpoint_id)


class FsspecReader(FileSystemReader):
    """``FileSystemReader`` for fsspec addresses; ``options`` go to the fsspec file system."""

    def __init__(self, path: str | os.PathLike[str], *args: Any, options: dict[str, Any] | None = None, **kwargs: Any):
        self._options = options or {}
        super().__init__(path, *args, **kwargs)

    def _open(self, path: str | os.PathLike[str]) -> None:
        self.files = open_files(path, self._options, sync=True)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Tell whether fsspec knows the file system of this address. Never raises."""
        return known_to_fsspec(checkpoint_id)


def open_files(address: str | os.PathLike[str], options: dict[str, Any], *, sync: bool) -> Any:
    """Return the files at an address: local ones directly."""
    text = os.fspath(address)
    fs, root = url_to_fs(text, **options)
    protocols = fs.protocol if isinstance(fs.protocol, (tuple, list)) else (fs.protocol,)
    if "file" in protocols or "local" in protocols:
        return LocalFiles(resolve_folder(root), sync=sync)
    return RemoteFiles(text, options)


def known_to_fsspec(checkpoint_id: Any) -> bool:
    """Tell whether an id is an address that fsspec can open."""
    if not isinstance(checkpoint_id, str) or isinstance(checkpoint_id, Path) or not checkpoint_id.strip():
        return False
    try:
        url_to_fs(checkpoint_id)
    except Exception:  # unknown protocol, missing library, unusable address
        return False
    return True


__all__ = ["FsspecReader", "FsspecWriter"]
