"""What variants with raw files share: a tensor is its bytes, and its dtype and shape are those in the metadata."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import Metadata
from torch.distributed.checkpoint.planner import LoadItemType, WriteItemType

from tests.variants import _store

_PLACE = re.compile(r"([0-9a-f]{32}/\d+-\d+)@(\d+)\+(\d+)#([0-9a-f]{64})")


def item_bytes(item: Any, planner: Any) -> bytes:
    """The bytes of an item. Raises TypeError for a tensor that is more than its bytes."""
    data = planner.resolve_data(item)
    if item.type is WriteItemType.BYTE_IO:
        return bytes(data.getvalue())
    if data.is_quantized or data.layout is not torch.strided:
        raise TypeError(f"{item.index.fqn!r} is quantized or not dense, which raw files cannot hold")
    values = _store.dense(data)
    return bytes(values.reshape(-1).view(torch.uint8).numpy()) if values.numel() else b""


def planned_size(item: Any) -> int:
    """How many bytes the tensor of a write item has; 0 for an object, of which a plan does not tell."""
    if item.tensor_data is None:
        return 0
    return int(item.tensor_data.chunk.sizes.numel() * item.tensor_data.properties.dtype.itemsize)


def place(name: str, position: int, content: bytes) -> str:
    """Where an item lies, for the metadata."""
    return f"{name}@{position}+{len(content)}#{hashlib.sha256(content).hexdigest()}"


class Writer(_store.Writer):
    """Writes raw files; `written` says which."""

    def objects(self, metadata: Metadata) -> set[str]:
        found = (_PLACE.fullmatch(str(value)) for value in metadata.storage_data.values())
        return {match[1] for match in found if match}


class Reader(_store.Reader):
    """Reads raw files through a buffer of the whole file."""

    @contextlib.contextmanager
    def opened(self, path: Path) -> Iterator[Any]:
        """A buffer that holds the bytes of a file."""
        yield bytearray(path.read_bytes())

    def delivered(self, plan: Any, planner: Any) -> None:
        assert self.metadata is not None, "set_up_storage_reader was not called"
        by_name: dict[str, list[tuple[Any, re.Match[str]]]] = {}
        for request in plan.items:
            where = _PLACE.fullmatch(str(self.metadata.storage_data[request.storage_index]))
            if where is None:
                raise ValueError(f"the metadata does not say where {request.storage_index.fqn!r} lies")
            by_name.setdefault(where[1], []).append((request, where))
        for name, requests in by_name.items():
            with self.opened(self.root / name) as buffer:
                for request, where in requests:
                    self._deliver(request, buffer, where, planner)

    def _deliver(self, request: Any, buffer: Any, where: re.Match[str], planner: Any) -> None:
        position, length = int(where[2]), int(where[3])
        with memoryview(buffer) as whole, whole[position : position + length] as part:
            if len(part) != length or hashlib.sha256(part).hexdigest() != where[4]:
                raise ValueError(f"{request.storage_index.fqn!r} in {where[1]} is damaged: its digest does not match")
            if request.type is LoadItemType.BYTE_IO:
                planner.load_bytes(request, io.BytesIO(part))
            else:
                _store.fill(request, self._tensor(request.storage_index, part), planner)

    def _tensor(self, index: Any, part: memoryview) -> torch.Tensor:
        assert self.metadata is not None
        entry: Any = self.metadata.state_dict_metadata[index.fqn]
        [sizes] = {chunk.sizes for chunk in entry.chunks if index.offset is None or chunk.offsets == index.offset}
        dtype = entry.properties.dtype
        if len(part) != sizes.numel() * dtype.itemsize:
            raise ValueError(f"{index.fqn!r} has {len(part)} bytes, which is not {dtype} {tuple(sizes)}")
        return (
            torch.frombuffer(bytearray(part), dtype=dtype).reshape(sizes)
            if len(part)
            else torch.empty(sizes, dtype=dtype)
        )
