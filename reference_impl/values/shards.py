"""Which parts of a tensor this rank holds, where they lie in the whole tensor, and how to get at them.

Covers plain tensors, DTensor, ShardedTensor (nested ones included, as 2-D FSDP makes them) and any object with the
checkpointable hooks ``__create_write_items__``, ``__create_chunk_list__`` and ``__get_tensor_shard__``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from dcp_conformance.reference_impl.interchange import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from dcp_conformance.reference_impl.values.described import described_parts, global_size, is_described

#: Offset in the whole tensor, size, and the data: one part of a tensor on this rank.
Part = tuple[torch.Size, torch.Size, torch.Tensor]


def is_tensor(value: Any) -> bool:
    """Tell whether ``value`` is stored as tensor data (a tensor of any kind, or an object with the hooks)."""
    return isinstance(value, torch.Tensor) or hasattr(value, "__create_write_items__")


def write_items(name: str, value: Any) -> list[WriteItem]:
    """Return the items that store what this rank holds of ``value``: one per part, or one object item.

    Raises RuntimeError for a DTensor with a Partial placement: its parts are summands, not pieces.
    """
    if _has_own_hooks(value):
        return list(value.__create_write_items__(name, value))
    if isinstance(value, DTensor) and _has_own_hooks(_wrapped(value)):
        _refuse_partial(value)
        return list(_wrapped(value).__create_write_items__(name, value)) if in_mesh(value) else []
    if isinstance(value, (DTensor, ShardedTensor)):
        properties = _properties(value)
        return [_item(name, WriteItemType.SHARD, o, s, properties, value.size()) for o, s, _ in parts(value)]
    if is_described(value):
        properties, whole = _properties(value), global_size(value)
        return [_item(name, WriteItemType.SHARD, o, s, properties, whole) for o, s, _ in parts(value)]
    if isinstance(value, torch.Tensor):
        zero = torch.Size([0] * value.dim())
        return [_item(name, WriteItemType.TENSOR, zero, value.size(), _properties(value), value.size())]
    return [WriteItem(index=MetadataIndex(name), type=WriteItemType.BYTE_IO)]


def chunk_list(value: Any) -> list[ChunkStorageMetadata]:
    """Return the boxes of the whole tensor that this rank holds and wants to load."""
    if _has_own_hooks(value):
        return list(value.__create_chunk_list__())
    if isinstance(value, DTensor) and _has_own_hooks(_wrapped(value)):
        return list(_wrapped(value).__create_chunk_list__()) if in_mesh(value) else []
    return [ChunkStorageMetadata(offsets=offset, sizes=size) for offset, size, _ in parts(value)]


def find_part(value: Any, index: MetadataIndex) -> torch.Tensor:
    """Return the data of the part at ``index.offset``; the hint in ``index.index`` is tried first and never trusted.

    Raises ValueError where this rank holds no such part.
    """
    if _has_own_hooks(value):
        return value.__get_tensor_shard__(index)  # type: ignore[no-any-return]
    if isinstance(value, DTensor) and _has_own_hooks(_wrapped(value)):
        return _wrapped(value).__get_tensor_shard__(index)  # type: ignore[no-any-return]
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{index.fqn!r} is not a tensor; it has no part at offset {index.offset}")
    if index.offset is None:
        if isinstance(value, ShardedTensor) or is_described(value):
            raise ValueError(f"{index.fqn!r} is sharded; a part of it is found by its offset")
        return value.to_local() if isinstance(value, DTensor) else value
    mine = list(parts(value))
    hint = index.index
    if hint is not None and 0 <= hint < len(mine) and mine[hint][0] == index.offset:
        return mine[hint][2]
    for offset, _, data in mine:
        if offset == index.offset:
            return data
    raise ValueError(f"{index.fqn!r} has no part at offset {tuple(index.offset)} on this rank")


def parts(value: torch.Tensor) -> Iterator[Part]:
    """Yield what this rank holds of a tensor; nothing for a DTensor on a mesh without this rank."""
    if isinstance(value, DTensor):
        if in_mesh(value):
            _refuse_partial(value)
            size, offset = compute_local_shape_and_global_offset(value.shape, value.device_mesh, value.placements)
            yield torch.Size(offset), torch.Size(size), local_part(value)
    elif isinstance(value, ShardedTensor):
        for shard in value.local_shards():
            base = tuple(shard.metadata.shard_offsets)
            if isinstance(shard.tensor, (ShardedTensor, DTensor)):
                for offset, size, data in parts(shard.tensor):
                    yield torch.Size(a + b for a, b in zip(base, offset, strict=True)), size, data
            else:
                yield torch.Size(base), torch.Size(shard.metadata.shard_sizes), shard.tensor
    elif is_described(value):
        yield from described_parts(value)
    elif isinstance(value, torch.Tensor):
        yield torch.Size([0] * value.dim()), value.size(), value
    else:
        raise ValueError(f"expected a tensor, found {type(value).__name__}")


def in_mesh(value: DTensor) -> bool:
    """Tell whether this rank belongs to the DTensor's device mesh."""
    return value.device_mesh.get_coordinate() is not None


def local_part(value: DTensor) -> torch.Tensor:
    """Return the local tensor of a DTensor, outside of autograd."""
    with torch.no_grad():
        return value.to_local()


def _wrapped(value: DTensor) -> Any:
    """Return the local tensor of a DTensor, which may be an object with hooks of its own."""
    return value._local_tensor


def _has_own_hooks(value: Any) -> bool:
    # DTensor's own hooks lead into torch's planner; what they say is computed here instead.
    hook = getattr(type(value), "__create_write_items__", None)
    if hook is None:
        return hasattr(value, "__create_write_items__")
    return hook is not getattr(DTensor, "__create_write_items__", None)


def _refuse_partial(value: DTensor) -> None:
    if any(placement.is_partial() for placement in value.placements):
        raise RuntimeError(f"a DTensor with placements {value.placements} holds partial sums; reduce it before saving")


def _properties(value: torch.Tensor) -> TensorProperties:
    if isinstance(value, ShardedTensor):
        stated = value.metadata().tensor_properties
        return TensorProperties(
            dtype=stated.dtype,
            layout=stated.layout,
            requires_grad=stated.requires_grad,
            memory_format=stated.memory_format,
            pin_memory=stated.pin_memory,
        )
    local = local_part(value) if isinstance(value, DTensor) else value
    properties = TensorProperties.create_from_tensor(local)
    properties.requires_grad = value.requires_grad
    return properties


def _item(
    name: str,
    kind: WriteItemType,
    offset: torch.Size,
    size: torch.Size,
    properties: TensorProperties,
    whole: torch.Size,
) -> WriteItem:
    chunk = ChunkStorageMetadata(offsets=offset, sizes=size)
    data = TensorWriteData(chunk=chunk, properties=properties, size=whole)
    return WriteItem(index=MetadataIndex(name, offset), type=kind, tensor_data=data)
