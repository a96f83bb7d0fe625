"""Resharding: which parts of which stored chunks fill the boxes that a rank wants."""

from __future__ import annotations

import torch

from dcp_conformance.reference_impl.interchange import (
    ChunkStorageMetadata,
    LoadItemType,
    MetadataIndex,
    ReadItem,
    TensorStorageMetadata,
)
from dcp_conformance.reference_impl.values.boxes import first_self_overlap, overlap, overlapping_pairs, volume


def whole_chunk(size: torch.Size) -> ChunkStorageMetadata:
    """Return the one chunk of a tensor that is stored whole."""
    return ChunkStorageMetadata(offsets=torch.Size([0] * len(size)), sizes=size)


def object_read_item(name: str) -> ReadItem:
    """Return the item that loads one object."""
    index = MetadataIndex(name)
    zero = (0,)
    return _read_item(LoadItemType.BYTE_IO, index, zero, index, zero, zero)


def tensor_read_items(name: str, stored: TensorStorageMetadata, wanted: list[ChunkStorageMetadata]) -> list[ReadItem]:
    """Return one item for each overlap of a wanted box with a stored chunk.

    Raises ValueError unless the items cover every element of every wanted box exactly once.
    """
    chunks = _distinct(stored.chunks)
    items: list[ReadItem] = []
    covered = [0] * len(wanted)
    sources: set[int] = set()
    boxes = [chunk for _, chunk in chunks]
    for i, j in overlapping_pairs(wanted, boxes):
        shared = overlap(wanted[i], boxes[j])
        assert shared is not None
        start, lengths = shared
        place, chunk = chunks[j]
        sources.add(j)
        covered[i] += volume(lengths)
        items.append(
            _read_item(
                LoadItemType.TENSOR,
                MetadataIndex(name, wanted[i].offsets, i),
                [s - o for s, o in zip(start, wanted[i].offsets, strict=True)],
                MetadataIndex(name, chunk.offsets, place),
                [s - o for s, o in zip(start, chunk.offsets, strict=True)],
                lengths,
            )
        )
    _require_cover(name, wanted, covered, [boxes[j] for j in sorted(sources)])
    return items


def _require_cover(
    name: str, wanted: list[ChunkStorageMetadata], covered: list[int], sources: list[ChunkStorageMetadata]
) -> None:
    if first_self_overlap(sources) is not None:
        raise ValueError(f"the checkpoint's metadata is not valid: {name!r} has overlapping chunks")
    for box, count in zip(wanted, covered, strict=True):
        if count != volume(box.sizes):
            raise ValueError(
                f"the checkpoint does not hold all of {name!r}: {count} of the {volume(box.sizes)} elements of the box "
                f"at {tuple(box.offsets)} of size {tuple(box.sizes)} are stored"
            )


def _distinct(chunks: list[ChunkStorageMetadata]) -> list[tuple[int, ChunkStorageMetadata]]:
    """Chunks with their places in the list; of equal ones (old releases stored replicas) the first."""
    seen: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[int, ChunkStorageMetadata]] = {}
    for place, chunk in enumerate(chunks):
        seen.setdefault((tuple(chunk.offsets), tuple(chunk.sizes)), (place, chunk))
    return list(seen.values())


def _read_item(
    kind: LoadItemType,
    target: MetadataIndex,
    target_offsets: list[int] | tuple[int, ...],
    source: MetadataIndex,
    source_offsets: list[int] | tuple[int, ...],
    lengths: list[int] | tuple[int, ...],
) -> ReadItem:
    return ReadItem(
        type=kind,
        dest_index=target,
        dest_offsets=torch.Size(target_offsets),
        storage_index=source,
        storage_offsets=torch.Size(source_offsets),
        lengths=torch.Size(lengths),
    )
