"""Keeps metadata as JSON that any program can read: no pickle is ever loaded."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch.distributed.checkpoint import Metadata
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _store

_LAYOUTS = {str(layout): layout for layout in (torch.strided,)}
_FORMATS = {str(name): name for name in (torch.contiguous_format, torch.preserve_format, torch.channels_last)}


def to_json(metadata: Metadata) -> bytes:
    """Metadata as JSON. Raises TypeError for planner data that JSON cannot hold."""
    meta = metadata.storage_meta
    content = {
        "entries": [[key, _entry(entry)] for key, entry in metadata.state_dict_metadata.items()],
        "planner_data": _tagged(metadata.planner_data),
        "storage_data": [[_index(index), name] for index, name in metadata.storage_data.items()],
        "storage_meta": None if meta is None else [str(meta.checkpoint_id), meta.save_id],
    }
    return json.dumps(content, ensure_ascii=True).encode()


def from_json(content: bytes) -> Metadata:
    """The metadata that `to_json` wrote. Raises ValueError for anything else."""
    try:
        found = json.loads(content)
        stored = found["storage_meta"]
        return Metadata(
            state_dict_metadata={str(key): _from_entry(entry) for key, entry in found["entries"]},
            planner_data=_untagged(found["planner_data"]),
            storage_data={_from_index(index): str(name) for index, name in found["storage_data"]},
            storage_meta=None if stored is None else StorageMeta(checkpoint_id=stored[0], save_id=stored[1]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"the metadata is not valid: {error!r}") from error


def _entry(entry: Any) -> Any:
    if isinstance(entry, BytesStorageMetadata):
        return None
    properties = entry.properties
    return {
        "dtype": str(properties.dtype).removeprefix("torch."),
        "layout": str(properties.layout),
        "requires_grad": properties.requires_grad,
        "memory_format": str(properties.memory_format),
        "pin_memory": properties.pin_memory,
        "size": list(entry.size),
        "chunks": [[list(chunk.offsets), list(chunk.sizes)] for chunk in entry.chunks],
    }


def _from_entry(entry: Any) -> BytesStorageMetadata | TensorStorageMetadata:
    if entry is None:
        return BytesStorageMetadata()
    dtype = getattr(torch, entry["dtype"], None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"this torch has no dtype {entry['dtype']!r}")
    properties = TensorProperties(
        dtype=dtype,
        layout=_LAYOUTS[entry["layout"]],
        requires_grad=bool(entry["requires_grad"]),
        memory_format=_FORMATS[entry["memory_format"]],
        pin_memory=bool(entry["pin_memory"]),
    )
    chunks = [ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)) for offsets, sizes in entry["chunks"]]
    return TensorStorageMetadata(properties=properties, size=torch.Size(entry["size"]), chunks=chunks)


def _index(index: MetadataIndex) -> list[Any]:
    return [index.fqn, None if index.offset is None else list(index.offset), index.index]


def _from_index(found: list[Any]) -> MetadataIndex:
    fqn, offset, number = found
    return MetadataIndex(fqn, None if offset is None else torch.Size(offset), number)


def _tagged(value: Any) -> Any:
    """JSON has no tuples and no keys but strings, so both are written with their kind."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dict):
        return {"dict": [[_tagged(key), _tagged(item)] for key, item in value.items()]}
    for kind in (tuple, list):
        if type(value) is kind:
            return {kind.__name__: [_tagged(item) for item in value]}
    raise TypeError(f"planner data of type {type(value).__name__} cannot be stored as JSON")


def _untagged(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, items)] = value.items()
    if kind == "dict":
        return {_untagged(key): _untagged(item) for key, item in items}
    return {"tuple": tuple, "list": list}[kind](map(_untagged, items))


class Writer(_store.Writer):
    """Encodes metadata as JSON."""

    def encode(self, metadata: Metadata) -> bytes:
        return to_json(metadata)

    def decode(self, content: bytes) -> Metadata:
        return from_json(content)


class Reader(_store.Reader):
    """Decodes metadata from JSON."""

    def decode(self, content: bytes) -> Metadata:
        return from_json(content)


backend = Backend(name="json_metadata", writer=Writer, reader=Reader, unsupported=_store.UNSUPPORTED)
