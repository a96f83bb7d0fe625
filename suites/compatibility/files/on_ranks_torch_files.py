"""Checkpoints in torch's own files, made by hand: neither an engine nor a storage had a part in them."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from dcp_conformance.harness.subject.session import Session

METADATA = ".metadata"
DATA = "__0_0.distcp"
CURRENT = "1.0.0"


@dataclass(frozen=True, kw_only=True)
class Making:
    """How the files differ from what torch writes today.

    version: None leaves out what releases up to 2.3 did not have. properties: the class of tensor properties.
    paths: path in the state of each key that is nested. around: what lies before, between and after the entries.
    backwards: entries lie in the file in the opposite order. transforms: key -> descriptor and function of its bytes.
    """

    version: str | None = CURRENT
    properties: type = TensorProperties
    paths: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    around: bytes = b""
    backwards: bool = False
    transforms: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = field(default_factory=dict)


def torch_files(values: Mapping[str, Any], making: Making | None = None) -> dict[str, bytes]:
    """Return the files, by name, of a checkpoint of plain tensors and objects under flat keys, saved by one rank."""
    making = making or Making()
    content, places = making.around, {}
    for key in sorted(values, reverse=making.backwards):
        data = torch_saved(values[key])
        descriptor, change = making.transforms.get(key, (None, None))
        data = change(data) if change is not None else data
        places[_index(key, values[key])] = _StorageInfo(DATA, len(content), len(data), descriptor and [descriptor])
        content += data + making.around
    metadata = Metadata(
        state_dict_metadata={key: _described(value, making.properties) for key, value in values.items()},
        planner_data={key: making.paths.get(key, (key,)) for key in values},
        storage_data=places,
    )
    metadata.version = making.version
    if making.version is None:
        del metadata.__dict__["version"], metadata.__dict__["storage_meta"]
    return {METADATA: pickle.dumps(metadata), DATA: content}


def torch_saved(value: Any) -> bytes:
    """Return one value as an entry holds it."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def planted(session: Session, files: Mapping[str, bytes], name: str = "planted") -> Any:
    """Return the id of a checkpoint that consists of these files; None where stored bytes are beyond reach."""
    if {"stored_bytes", "torch_format"} & set(session.storage.unsupported):
        return None  # the control pair, for one, must not be blamed for files that are not its own
    checkpoint_id = session.new_id(name)
    try:
        blobs = session.blobs(checkpoint_id)
    except LookupError:
        return None  # a store behind an address, whose record gives no way to its bytes
    if blobs is None:
        return None
    for file, data in files.items():
        blobs.write(file, data)
    return checkpoint_id


def found(session: Session, checkpoint_id: Any) -> dict[str, bytes] | None:
    """Return the stored objects of a checkpoint by name; None where they are beyond reach."""
    if "stored_bytes" in session.storage.unsupported:
        return None
    try:
        blobs = session.blobs(checkpoint_id)
    except LookupError:
        return None  # as in `planted`
    return None if blobs is None else {name: blobs.read(name) for name in blobs.names()}


def stored_metadata(files: Mapping[str, bytes]) -> Any:
    """Return the object pickled in `.metadata`; None where there is none that can be read."""
    try:
        return pickle.loads(files[METADATA])
    except Exception:
        return None  # not there, another format, or damaged: pickle fails in many ways


def _index(key: str, value: Any) -> MetadataIndex:
    if isinstance(value, torch.Tensor):
        return MetadataIndex(key, torch.Size([0] * value.dim()), 0)
    return MetadataIndex(key)


def _described(value: Any, properties: Any) -> TensorStorageMetadata | BytesStorageMetadata:
    if not isinstance(value, torch.Tensor):
        return BytesStorageMetadata()
    assert value.numel() == math.prod(value.shape) and not value.requires_grad
    whole = ChunkStorageMetadata(offsets=torch.Size([0] * value.dim()), sizes=value.size())
    return TensorStorageMetadata(properties(dtype=value.dtype), value.size(), [whole])
