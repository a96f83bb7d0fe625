"""Which storage an id belongs to, where the caller gives none."""

from __future__ import annotations

import importlib
import os
from typing import Any, TypeVar

from dcp_conformance.reference_impl.interchange import StorageReader, StorageWriter
from dcp_conformance.reference_impl.storage.filesystem_reader import FileSystemReader
from dcp_conformance.reference_impl.storage.filesystem_writer import FileSystemWriter

CheckpointId = str | os.PathLike[str]
S = TypeVar("S", StorageReader, StorageWriter)


class UsageError(RuntimeError):
    """The caller named no storage, or one that nobody knows."""


def choose_writer(writer: StorageWriter | None, checkpoint_id: CheckpointId | None) -> StorageWriter:
    """Return the given writer, or the first that accepts the id; reset to the id.

    Raises UsageError (a RuntimeError) where there is neither id nor writer, or no storage accepts the id.
    """
    return _choose(writer, checkpoint_id, _candidates(FileSystemWriter, "FsspecWriter"), "storage_writer")


def choose_reader(reader: StorageReader | None, checkpoint_id: CheckpointId | None) -> StorageReader:
    """Return the given reader, or the first that accepts the id; reset to the id. Raises as ``choose_writer``."""
    return _choose(reader, checkpoint_id, _candidates(FileSystemReader, "FsspecReader"), "storage_reader")


def _choose(given: S | None, checkpoint_id: CheckpointId | None, candidates: list[Any], parameter: str) -> S:
    if given is not None:
        if checkpoint_id is not None:
            given.reset(checkpoint_id)
        return given
    # An empty id would mean the current folder, which nobody has asked to be saved to.
    if checkpoint_id is None or checkpoint_id == "":
        raise UsageError(f"`checkpoint_id` must be specified if `{parameter}` is None")
    # Local first: fsspec takes plain paths as well, and would be a detour to the same files.
    for candidate in candidates:
        if candidate.validate_checkpoint_id(checkpoint_id):
            found: S = candidate(checkpoint_id)
            found.reset(checkpoint_id)
            return found
    raise UsageError(
        f"Cannot detect which storage the id {str(checkpoint_id)!r} belongs to; please specify `{parameter}`"
    )


def _candidates(local: type[Any], remote: str) -> list[type[Any]]:
    try:
        storage = importlib.import_module("dcp_conformance.reference_impl.storage.fsspec_storage")
    except ImportError:  # fsspec is not installed
        return [local]
    return [local, getattr(storage, remote)]
