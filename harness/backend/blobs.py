"""Out-of-band access to stored bytes: what a checkpoint looks like behind the backend's back."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path, PurePosixPath
from typing import Protocol

from dcp_conformance.harness.scratch import run_folder_of


class Blobs(Protocol):
    """The stored objects of one checkpoint, by name. Nothing here goes through the backend."""

    def names(self) -> list[str]:
        """Return the names of all stored objects, sorted; empty when there is no checkpoint."""
        ...

    def read(self, name: str) -> bytes:
        """Return the bytes of one object; KeyError when there is none of that name."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Replace the bytes of one object, or add it."""
        ...

    def delete(self, name: str) -> None:
        """Remove one object; KeyError when there is none of that name."""
        ...


class FileBlobs:
    """The regular files of a checkpoint that is a folder (or a single file) on a local file system.

    Names are relative paths with ``/``. A symbolic link is followed only where it ends inside the run's scratch
    folder (a store may commit by switching a link); without a run folder, inside the folder that holds the root.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        path = Path(root)
        self._boundary = run_folder_of(path) or Path(os.path.realpath(path.parent))
        self._root = Path(os.path.realpath(path))

    def names(self) -> list[str]:
        if not self._inside(self._root):
            return []
        if self._root.is_file():
            return [self._root.name]
        found = []
        for folder, _, files in os.walk(self._root, followlinks=False):
            paths = (Path(folder, file) for file in files)
            found += [path.relative_to(self._root).as_posix() for path in paths if self._is_blob(path)]
        return sorted(found)

    def read(self, name: str) -> bytes:
        return self._existing(name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not os.access(path, os.W_OK):
            # A store may make its objects read-only; that must not stop us from corrupting them.
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
        path.write_bytes(data)

    def delete(self, name: str) -> None:
        self._existing(name).unlink()

    def _existing(self, name: str) -> Path:
        path = self._path(name)
        if not self._is_blob(path):
            raise KeyError(f"no stored object {name!r} below {self._root}")
        return path

    def _path(self, name: str) -> Path:
        relative = PurePosixPath(name)
        if not name or "\0" in name or relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"{name!r} is not the name of a stored object: it must be a relative path without '..'.")
        path = self._root if self._root.is_file() and name == self._root.name else self._root / relative
        if not self._inside(path):
            raise ValueError(f"{name!r} leads out of {self._boundary} through a symbolic link.")
        return path

    def _is_blob(self, path: Path) -> bool:
        return self._inside(path) and path.is_file()

    def _inside(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(self._boundary)


def is_local_path(checkpoint_id: str) -> bool:
    """Tell whether an id is a path of this machine rather than an address such as ``s3://bucket/key``."""
    return "://" not in checkpoint_id


def file_blobs(checkpoint_id: str) -> Blobs:
    """Return the files below a local id; LookupError for an id that is not a local path."""
    if not is_local_path(checkpoint_id):
        raise LookupError(f"{checkpoint_id} is not a local path, and the backend's record gives no blobs for it")
    return FileBlobs(checkpoint_id)


def discard_path(checkpoint_id: str) -> bool:
    """Delete the checkpoint at a local path; False for an id that is not a local path (it stays where it is).

    Only what lies strictly below the scratch folder of a run is ever deleted (the run's marker file proves it);
    ValueError otherwise. A symbolic link is removed, never what it points at.
    """
    if not is_local_path(checkpoint_id):
        return False
    path = Path(os.path.realpath(Path(checkpoint_id).parent), Path(checkpoint_id).name)
    if path.name in {"", ".", ".."} or run_folder_of(path) is None:
        raise ValueError(f"{checkpoint_id} is not below the scratch folder of a run, so it is not deleted.")
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return True


def path_below(scratch: str, name: str) -> str:
    """Return the default checkpoint id: the path ``name`` below ``scratch`` (ValueError if it would leave it)."""
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts or relative == PurePosixPath("."):
        raise ValueError(f"{name!r} does not name a checkpoint below {scratch}.")
    return str(Path(scratch, name))
