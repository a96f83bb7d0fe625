"""Plain tensors that say which part of a larger one they hold: torch's protocol ``CheckpointableTensor`` (2.14).

Such a tensor has four attributes: ``global_shape``, and for each part that it holds its start in the whole
(``global_offsets``), its start in this tensor (``local_offsets``) and its size (``local_sizes``). A tensor with fewer
dimensions than the whole holds rows of a view that merges the leading ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from dcp_conformance.reference_impl.values.boxes import narrow

_ATTRIBUTES = ("global_shape", "global_offsets", "local_offsets", "local_sizes")


def is_described(value: Any) -> bool:
    """Tell whether a tensor says that it is a part of a larger one."""
    return isinstance(value, torch.Tensor) and all(hasattr(value, name) for name in _ATTRIBUTES)


def global_size(value: Any) -> torch.Size:
    """Return the size of the whole tensor that ``value`` is, or holds a part of."""
    return torch.Size(value.global_shape) if is_described(value) else value.size()


def described_parts(value: Any) -> Iterator[tuple[torch.Size, torch.Size, torch.Tensor]]:
    """Offset in the whole, size, and the data of each part. Raises ValueError for a description that does not fit."""
    whole = torch.Size(value.global_shape)
    if not len(value.global_offsets) == len(value.local_offsets) == len(value.local_sizes):
        raise ValueError("a tensor that describes its parts has as many global as local offsets and local sizes")
    for start, place, size in zip(value.global_offsets, value.local_offsets, value.local_sizes, strict=True):
        if not len(start) == len(size) == len(whole):
            raise ValueError(
                f"a part at {tuple(start)} of size {tuple(size)} does not lie in a tensor of {tuple(whole)}"
            )
        yield torch.Size(start), torch.Size(size), _part(value, tuple(place), tuple(size))


def take_description(source: Any, target: torch.Tensor) -> None:
    """Let a copy describe the same parts as the tensor that it is a copy of."""
    for name in _ATTRIBUTES if is_described(source) else ():
        setattr(target, name, getattr(source, name))


def _part(value: torch.Tensor, place: tuple[int, ...], size: tuple[int, ...]) -> torch.Tensor:
    if value.dim() == len(size):
        return narrow(value, place, size)
    row = math.prod(value.shape[1:])
    rows = math.prod(size) // row if row else 0
    return value.narrow(0, place[0] if place else 0, rows).view(size)
