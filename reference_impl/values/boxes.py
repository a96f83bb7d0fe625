"""Boxes in index space: chunks of tensors, whether they overlap, and whether together they fill something."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence

import torch

from dcp_conformance.reference_impl.interchange import ChunkStorageMetadata


def volume(sizes: Sequence[int]) -> int:
    """Number of elements in a box; 1 for a box without dimensions."""
    return math.prod(sizes)


def in_bounds(size: Sequence[int], chunk: ChunkStorageMetadata) -> bool:
    """Tell whether a chunk has the tensor's number of dimensions and lies within it."""
    if not len(size) == len(chunk.offsets) == len(chunk.sizes):
        return False
    return all(o >= 0 and s >= 0 and o + s <= n for o, s, n in zip(chunk.offsets, chunk.sizes, size, strict=True))


def overlap(a: ChunkStorageMetadata, b: ChunkStorageMetadata) -> tuple[list[int], list[int]] | None:
    """Start and lengths, in the whole tensor, of the region that two chunks share; None if there is none."""
    start = [max(p, q) for p, q in zip(a.offsets, b.offsets, strict=True)]
    lengths = [
        min(p + m, q + n) - s for p, m, q, n, s in zip(a.offsets, a.sizes, b.offsets, b.sizes, start, strict=True)
    ]
    return (start, lengths) if all(length > 0 for length in lengths) else None


def overlapping_pairs(
    left: Sequence[ChunkStorageMetadata], right: Sequence[ChunkStorageMetadata]
) -> Iterator[tuple[int, int]]:
    """Places (i, j) of all pairs of chunks that share an element, in order of i.

    Sweeps along the dimension in which the chunks extend furthest, so that a thousand chunks in a row are compared with
    their neighbours only and not each with all others.
    """
    if not left or not right:
        return
    dims = len(left[0].sizes)
    axis = max(range(dims), key=lambda d: max(c.offsets[d] + c.sizes[d] for c in (*left, *right)), default=-1)
    spans = [[_span(chunk, axis) for chunk in side] for side in (left, right)]
    waiting = sorted(range(len(right)), key=lambda j: spans[1][j][0], reverse=True)
    active: list[tuple[int, int]] = []
    found: list[tuple[int, int]] = []
    for i in sorted(range(len(left)), key=lambda i: spans[0][i][0]):
        start, end = spans[0][i]
        while waiting and spans[1][waiting[-1]][0] < end:
            j = waiting.pop()
            insort(active, (spans[1][j][1], j))
        del active[: bisect_right(active, (start, len(right)))]
        found.extend((i, j) for _, j in active if overlap(left[i], right[j]) is not None)
    yield from sorted(found)


def _span(chunk: ChunkStorageMetadata, axis: int) -> tuple[int, int]:
    if axis < 0:  # no dimensions: every chunk is the one element
        return (0, 1)
    return (chunk.offsets[axis], chunk.offsets[axis] + chunk.sizes[axis])


def first_self_overlap(chunks: Sequence[ChunkStorageMetadata]) -> tuple[int, int] | None:
    """Return two different chunks of one list that share an element, or None."""
    full = [chunk for chunk in chunks if volume(chunk.sizes)]
    return next(((i, j) for i, j in overlapping_pairs(full, full) if i < j), None)


def narrow(tensor: torch.Tensor, offsets: Iterable[int], lengths: Iterable[int]) -> torch.Tensor:
    """Return the view of ``tensor`` that starts at ``offsets`` and has size ``lengths``."""
    for dim, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
        if length != tensor.size(dim):
            tensor = tensor.narrow(dim, offset, length)
    return tensor
