"""Edits of checkpoints in torch's own format: what its metadata says about entries, changed behind the reader's back.

For backends that claim `torch_format`: one pickled Metadata in `.metadata` (public format), whose storage_data says for
each entry in which file it lies, where it begins and how long it is. Unpickles stored bytes: for ranks only.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import torch

from dcp_conformance.harness.backend.blobs import Blobs

METADATA = ".metadata"


def read_metadata(blobs: Blobs) -> Any:
    """Return the stored Metadata. Raises LookupError where there is none."""
    try:
        stored = blobs.read(METADATA)
    except KeyError:
        raise LookupError(f"no object {METADATA!r} is stored, which torch's format has") from None
    return pickle.load(io.BytesIO(stored))  # not loads: a format may keep more behind the pickle


def edited(blobs: Blobs, key: str, change: Callable[[Any], None]) -> bytes:
    """Return the bytes of `.metadata` after `change` was applied to a plain copy of each storage entry of `key`."""
    metadata = read_metadata(blobs)
    for index, info in metadata.storage_data.items():
        if index.fqn == key:
            # A copy: entries may share one object, and the edit is about one of them.
            metadata.storage_data[index] = entry = plain(info)
            change(entry)
    return pickle.dumps(metadata)


def plain(info: Any) -> Any:
    """Return a storage entry with torch's fields only: no checksum that a backend may have added."""
    from torch.distributed.checkpoint.filesystem import _StorageInfo

    # As an attacker would: a reader that checks a checksum only where there is one must look further.
    return _StorageInfo(relative_path=info.relative_path, offset=info.offset, length=info.length)


def exchanged(blobs: Blobs, first: str, second: str) -> bytes:
    """Return the bytes of `.metadata` with the storage entries of two keys exchanged, whatever they hold."""
    metadata = read_metadata(blobs)
    by_key = {index.fqn: index for index in metadata.storage_data if index.fqn in (first, second)}
    one, two = by_key[first], by_key[second]
    metadata.storage_data[one], metadata.storage_data[two] = metadata.storage_data[two], metadata.storage_data[one]
    return pickle.dumps(metadata)


def entry_of(blobs: Blobs, key: str) -> Any:
    """Return the first storage entry of `key`."""
    return next(info for index, info in read_metadata(blobs).storage_data.items() if index.fqn == key)


def saved_object(value: Any, **options: Any) -> bytes:
    """Return what torch.save makes of a value."""
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()
