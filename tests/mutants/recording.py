"""Bugs that only a power cut or a failing disk shows: syncs forgotten, too early or ignored, errors passed over."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from dcp_conformance.harness import control
from dcp_conformance.harness.control import objects
from dcp_conformance.harness.control.objects import _digest, _make_folder, _sync_folder, write_object
from tests.mutants.making import storage

Put = Callable[[Path, str, bytes], int]


@contextlib.contextmanager
def _with_put(put: Put) -> Iterator[None]:
    """The control's code, but for how an object gets to the disk."""
    with mock.patch.object(control, "write_object", put):
        yield


def _placed(root: Path, name: str, write: Callable[[Path, bytes], None], content: bytes) -> int:
    path = root / name
    _make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.new")
    whole = _digest(name, content) + content
    write(temporary, whole)
    os.replace(temporary, path)
    _sync_folder(path.parent)
    return len(whole)


def _write_only(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)


def _unsynced(root: Path, name: str, content: bytes) -> int:
    return _placed(root, name, _write_only, content)


def _synced_too_early(root: Path, name: str, content: bytes) -> int:
    def write(path: Path, whole: bytes) -> None:
        with open(path, "wb", buffering=len(whole) + 1) as stream:
            stream.write(whole)
            os.fsync(stream.fileno())

    return _placed(root, name, write, content)


def _written_once(root: Path, name: str, content: bytes) -> int:
    def write(path: Path, whole: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            os.write(descriptor, whole)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    return _placed(root, name, write, content)


def _sync_if_possible(root: Path, name: str, content: bytes) -> int:
    def write(path: Path, whole: bytes) -> None:
        with open(path, "wb") as stream:
            stream.write(whole)
            stream.flush()
            with contextlib.suppress(OSError):  # some network file systems have none
                os.fsync(stream.fileno())

    return _placed(root, name, write, content)


def _if_there_is_room(root: Path, name: str, content: bytes) -> int:
    try:
        return write_object(root, name, content)
    except OSError:
        return len(content)


class _Unsynced(control.Writer):
    """Leaves it to the system when data reaches the disk; the commit is synced."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        with _with_put(_unsynced):
            return super().write_data(plan, planner)


class _SyncsEarly(control.Writer):
    """Syncs the commit while it is still in a buffer of the process."""

    def finish(self, metadata: Any, results: Any) -> None:
        with _with_put(_synced_too_early):
            super().finish(metadata, results)


class _NoFolders(control.Writer):
    """Syncs files, and not the folders that name them."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        with mock.patch.object(objects, "_sync_folder", lambda folder: None):
            return super().write_data(plan, planner)

    def finish(self, metadata: Any, results: Any) -> None:
        with mock.patch.object(objects, "_sync_folder", lambda folder: None):
            super().finish(metadata, results)


class _GoesOn(control.Writer):
    """An object that could not be written is not worth a failed training."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        with _with_put(_if_there_is_room):
            return super().write_data(plan, planner)


class _OneWrite(control.Writer):
    """Believes that one call writes everything that it is given."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        with _with_put(_written_once):
            return super().write_data(plan, planner)


class _SyncsIfPossible(control.Writer):
    """Takes any error of a sync for a file system that cannot."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        with _with_put(_sync_if_possible):
            return super().write_data(plan, planner)


leaves_data_to_the_system = storage(breaks=["DUR-06"], writer=_Unsynced)
syncs_before_it_flushes = storage(breaks=["DUR-07"], writer=_SyncsEarly)
forgets_the_folder = storage(breaks=["DUR-08"], writer=_NoFolders)
goes_on_without_an_object = storage(breaks=["DUR-09"], writer=_GoesOn)
takes_half_a_write_for_a_whole = storage(breaks=["DUR-09"], writer=_OneWrite)
passes_over_a_failed_sync = storage(breaks=["DUR-09"], writer=_SyncsIfPossible)
