"""Bugs that only some rungs of the ladder of damages show: a length that is believed, a size that is made to fit."""

from __future__ import annotations

import ctypes
import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.planner import LoadItemType
from torch.futures import Future

from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import _digest
from tests.mutants.corruption import _Reading
from tests.mutants.durability import _InPlaceWriter
from tests.mutants.making import storage

_DIGEST, _LENGTH = 32, 8


def _rewritten(writer: control.Writer, future: Any, change: Any) -> Any:
    """The stored objects of a finished write_data, changed: (name, bytes) -> bytes."""
    for result in future.wait():
        path = Path(writer._root, result.storage_data)
        path.write_bytes(change(result.storage_data, path.read_bytes()))
    return future


class _LengthWriter(control.Writer):
    """Puts the length of the contents before them."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        return _rewritten(self, done, lambda name, data: len(data).to_bytes(_LENGTH, "little") + data)


class _LengthReader(_Reading):
    """Goes through the contents in native code, as far as the length says."""

    def content(self, name: str) -> bytes | None:
        data = (self._root / name).read_bytes()
        count = int.from_bytes(data[:_LENGTH], "little")
        held = ctypes.c_char_p(data[_LENGTH:])
        # Only reads beyond the end: a crash for certain where it is far, and no damage to whoever runs this.
        ctypes.CDLL(None).memcmp(held, held, ctypes.c_size_t(count))
        body = data[_LENGTH : _LENGTH + count]
        if body[:_DIGEST] != _digest(name, body[_DIGEST:]):
            raise ValueError(f"the object {name} is damaged")
        return body[_DIGEST:]


class _PlainWriter(control.Writer):
    """The digest is that of the contents, whatever they are called."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        return _rewritten(
            self, done, lambda name, data: hashlib.sha256(data[_DIGEST:]).digest() + data[_DIGEST:]
        )  # fmt: skip


class _FittingReader(_Reading):
    """A tensor that has another size than it should is cut or filled up."""

    def content(self, name: str) -> bytes | None:
        data = (self._root / name).read_bytes()
        if data[:_DIGEST] != hashlib.sha256(data[_DIGEST:]).digest():
            raise ValueError(f"the object {name} is damaged")
        return data[_DIGEST:]

    def read_data(self, plan: Any, planner: Any) -> Any:
        for request in plan.items:
            content = self.content(self._names[request.storage_index])
            assert content is not None
            if request.type is not LoadItemType.BYTE_IO:
                content = _fitted(content, request)
            control._deliver(content, [request], planner)
        done: Future[None] = Future()
        done.set_result(None)
        return done


def _fitted(content: bytes, request: Any) -> bytes:
    stored = torch.load(io.BytesIO(content), weights_only=False)
    whole = not any(request.storage_offsets)
    if not isinstance(stored, torch.Tensor) or whole and stored.dim() != len(request.lengths):
        flat = stored.flatten() if isinstance(stored, torch.Tensor) else torch.zeros(0)
        count = int(torch.Size(request.lengths).numel())
        stored = torch.cat([flat, flat.new_zeros(count)])[:count].reshape(request.lengths)
    stream = io.BytesIO()
    torch.save(stored, stream)
    return stream.getvalue()


def _mark(root: Path, name: str, data: bytes) -> bytes:
    return hashlib.sha256(str(root).encode() + name.encode() + data).digest()


class _PlaceWriter(_InPlaceWriter):
    """Every object says in which checkpoint it lies, and under which name; not of which save it is."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        return _rewritten(self, done, lambda name, data: data + _mark(self._root, name, data))


class _PlaceReader(_Reading):
    def content(self, name: str) -> bytes | None:
        data = (self._root / name).read_bytes()
        if data[-_DIGEST:] != _mark(self._root, name, data[:-_DIGEST]):
            raise ValueError(f"the object {name} is damaged")
        return data[_DIGEST:-_DIGEST]


copies_as_much_as_the_header_says = storage(breaks=["CORR-06"], writer=_LengthWriter, reader=_LengthReader)
makes_any_size_fit = storage(breaks=["CORR-03"], writer=_PlainWriter, reader=_FittingReader)
ties_objects_to_their_place_only = storage(breaks=["CORR-09"], writer=_PlaceWriter, reader=_PlaceReader)
