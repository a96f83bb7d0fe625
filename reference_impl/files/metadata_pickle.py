"""The ``.metadata`` file: torch's pickle, written as torch reads it and read without running anything from it.

Reading goes in two steps. A restricted unpickler accepts the class paths that torch 1.13 to 2.15 wrote and turns each
object into an inert record; then real metadata is built from the records, every field checked. Nothing that the file
names is called, apart from constructors of plain built-in types.

Behind the pickle stands a SHA-256 of it. torch stops reading at the end of the pickle and does not see it.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import pickle
from collections import OrderedDict, deque
from dataclasses import replace
from typing import Any

import torch

from dcp_conformance.reference_impl.errors import CorruptCheckpointError, UnknownVersionError
from dcp_conformance.reference_impl.files.metadata_records import Record, metadata_of
from dcp_conformance.reference_impl.interchange import Metadata
from dcp_conformance.reference_impl.values.pickle_bounds import bounded, require_bounded

#: Python's default when torch began to write this file; readable by all releases.
_PROTOCOL = 4
_MAGIC = b"\0DCP-SHA256:"
_TRAILER = len(_MAGIC) + 32


def dump_metadata(metadata: Metadata) -> bytes:
    """Return the bytes of a metadata file.

    Raises ValueError where the metadata holds something that could not be read back, such as an instance of a planner's
    own class: better at the save than at the load.
    """
    # Only the planner's data can be anything; the rest is made of the classes that are read.
    probe = replace(metadata, state_dict_metadata={}, storage_data={})
    try:
        # Read back at once: what the strict reader refuses must not be found out when the job that saved it is gone.
        parse_metadata(pickle.dumps(probe, protocol=_PROTOCOL))
    except CorruptCheckpointError as error:
        raise ValueError(f"the metadata holds what a safe reader refuses: {error}") from error
    data = pickle.dumps(metadata, protocol=_PROTOCOL)
    return data + _MAGIC + hashlib.sha256(data).digest()


def parse_metadata(data: bytes) -> Metadata:
    """Return the metadata in a file.

    Raises CorruptCheckpointError for anything that is not a whole, valid, known file.
    """
    value = _unpickle(_checked(data))
    try:
        return metadata_of(value)
    except (CorruptCheckpointError, UnknownVersionError):
        raise
    except Exception as error:  # a shape that no check foresaw, such as a list that contains itself
        raise CorruptCheckpointError(f"the metadata is not valid ({type(error).__name__}: {error})") from error


def _checked(data: bytes) -> bytes:
    """Return the pickle of a file, its checksum verified where there is one (torch writes none)."""
    if data[-_TRAILER:].startswith(_MAGIC):
        body, digest = data[:-_TRAILER], data[-32:]
        if hashlib.sha256(body).digest() != digest:
            raise CorruptCheckpointError("the metadata is damaged: its checksum does not match")
        return body
    return data


def _unpickle(data: bytes) -> Any:
    stream = io.BytesIO(data)
    try:
        require_bounded(data)
        value = _RecordUnpickler(stream).load()
    except CorruptCheckpointError:
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise CorruptCheckpointError(f"the metadata is damaged or cut short ({text})") from error
    # Bytes behind the pickle are torch's to ignore; here they mean that the trailer was damaged.
    if stream.read(1):
        raise CorruptCheckpointError("the metadata is damaged: something unknown follows it")
    return value


_METADATA_CLASSES = frozenset({
    "Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "MetadataIndex", "StorageMeta",
    "TensorProperties", "_MEM_FORMAT_ENCODING", "MEM_FORMAT_ENCODING", "_StorageInfo",
})  # fmt: skip

#: Where torch has kept those classes: 1.13, 2.0 and later; properties and their enum moved in 2.3.
_METADATA_MODULES = frozenset({
    "torch.distributed._shard.checkpoint.metadata", "torch.distributed._shard.checkpoint.filesystem",
    "torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem",
    "torch.distributed._shard.sharded_tensor.metadata",
})  # fmt: skip

#: Built-in types that a planner's data may hold; none runs code when called, or makes more than it is given.
_PLAIN: dict[tuple[str, str], Any] = {
    ("builtins", "set"): bounded(set),
    ("builtins", "frozenset"): bounded(frozenset),
    ("builtins", "complex"): complex,
    ("builtins", "slice"): slice,
    ("builtins", "range"): range,
    ("collections", "OrderedDict"): bounded(OrderedDict),
    ("collections", "deque"): bounded(deque),
    ("datetime", "datetime"): datetime.datetime,
    ("datetime", "date"): datetime.date,
    ("datetime", "timedelta"): datetime.timedelta,
    ("torch", "Size"): bounded(torch.Size),
    ("torch", "device"): torch.device,
}


class _RecordUnpickler(pickle.Unpickler):
    """Builds inert records. Their classes live as long as one load, so a file cannot alter anything for the next."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self._made: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        plain = _PLAIN.get((module, name))
        if plain is not None:
            return plain
        if module in _METADATA_MODULES and name in _METADATA_CLASSES:
            return self._record(name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module == "torch.serialization" and name == "_get_layout":
            return self._record("layout")
        # Python 3.13 pickles paths under pathlib._local; older ones do not have that module.
        if module in ("pathlib", "pathlib._local") and name in _PATHS:
            return self._record("path")
        if (module, name) in (("builtins", "bytearray"), ("_codecs", "encode")):
            return self._record(name)
        raise CorruptCheckpointError(f"the metadata names {module}.{name}, which does not belong into metadata")

    def _record(self, kind: str) -> Any:
        if kind not in self._made:
            self._made[kind] = type(kind, (Record,), {"kind": kind})
        return self._made[kind]

    def persistent_load(self, pid: Any) -> Any:
        raise CorruptCheckpointError("the metadata refers to data outside of it")


_PATHS = frozenset({"PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath"})
