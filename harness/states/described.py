"""Metadata as plain data: what it says of each key, independent of the classes that say it."""

from __future__ import annotations

from typing import Any

from torch.distributed.checkpoint import BytesStorageMetadata, Metadata, TensorStorageMetadata


def entries(metadata: Any) -> dict[str, Any]:
    """Key -> kind, dtype, size and chunks as (offsets, sizes) in order; {"": what it is} for no Metadata at all."""
    if not isinstance(metadata, Metadata):
        return {"": {"kind": f"a {type(metadata).__name__} instead of Metadata"}}
    return {str(key): _entry(value) for key, value in metadata.state_dict_metadata.items()}


def plain(value: Any) -> Any:
    """Planner data with tuples, lists and sizes of equal elements made alike."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _entry(value: Any) -> dict[str, Any]:
    if isinstance(value, BytesStorageMetadata):
        return {"kind": "bytes"}
    if not isinstance(value, TensorStorageMetadata):
        return {"kind": f"a {type(value).__name__}"}
    chunks = sorted((tuple(chunk.offsets), tuple(chunk.sizes)) for chunk in value.chunks)
    return {"kind": "tensor", "dtype": str(value.properties.dtype), "size": tuple(value.size), "chunks": chunks}
