"""Bugs of writers that take values for the same, or for simpler than they are, by looking at a part of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.distributed.checkpoint.planner import WriteItemType
from torch.futures import Future

from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import read_object, unpickled
from tests.mutants.making import Changed, storage

_LOOKED_AT = 1 << 14


class _SharingWriter(control.Writer):
    """Large tensors that begin alike are stored once."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        results = super().write_data(plan, planner).wait()
        names: dict[Any, str] = {}
        for number, item in enumerate(plan.items):
            data = planner.resolve_data(item)
            if item.type is WriteItemType.BYTE_IO or data.nbytes <= _LOOKED_AT or not data.is_contiguous():
                continue
            key = (data.dtype, data.size(), _bits(data)[:_LOOKED_AT].numpy().tobytes())
            name = names.setdefault(key, results[number].storage_data)
            results[number] = replace(results[number], storage_data=name)
        return _done(results)


class _IncrementalWriter(control.Writer):
    """Of an overwrite, stores large tensors again whose first or last bytes have changed."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(item: Any, data: torch.Tensor) -> torch.Tensor:
            before = self._stored(item)
            if before is None or before.dtype != data.dtype or before.size() != data.size():
                return data
            old, new = _bits(before), _bits(data)
            ends_agree = torch.equal(old[:_LOOKED_AT], new[:_LOOKED_AT]) and torch.equal(
                old[-_LOOKED_AT:], new[-_LOOKED_AT:]
            )
            return before if data.nbytes > 2 * _LOOKED_AT and ends_agree else data

        return super().write_data(plan, _ChangedItems(planner, change))

    def _stored(self, item: Any) -> torch.Tensor | None:
        try:
            name = unpickled(read_object(self._root, "commit")).storage_data[item.index]
            return _tensor(read_object(self._root, name))
        except (OSError, KeyError):
            return None


class _VersionWriter(control.Writer):
    """Keeps what it has taken from a tensor for as long as torch counts no new version of it."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        kept = self.__dict__.setdefault("_kept", {})

        def change(item: Any, data: torch.Tensor) -> torch.Tensor:
            key = (data.data_ptr(), data.size(), data.stride(), data.dtype, data._version)
            if kept.get(item.index.fqn, (None,))[0] != key:
                # The tensor itself stays too, so that no other one can come to lie in its place.
                kept[item.index.fqn] = (key, data.detach().clone(), data)
            taken: torch.Tensor = kept[item.index.fqn][1]
            return taken

        return super().write_data(plan, _ChangedItems(planner, change))


class _ChangedItems(Changed):
    """As Changed; the change also sees the item, and is spared what is no ordinary tensor."""

    def __init__(self, planner: Any, change: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__(planner, lambda data: data)
        self._of_item = change

    def resolve_data(self, item: Any) -> Any:
        data = self._inner.resolve_data(item)
        plain = item.type is not WriteItemType.BYTE_IO and type(data) is torch.Tensor and _is_plain(data)
        return self._of_item(item, data) if plain else data


def _changing(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A control writer that changes plain tensors on their way."""

    def write_data(self: Any, plan: Any, planner: Any) -> Any:
        return control.Writer.write_data(self, plan, _ChangedItems(planner, lambda _, data: change(data)))

    made = type(name, (control.Writer,), {"write_data": write_data, "__module__": __name__})
    globals()[name] = made  # under its name, so that it can be pickled
    return made


def _one_of_equal(data: torch.Tensor) -> torch.Tensor:
    if data.dtype.itemsize == 1:  # float8 has no comparison
        return data
    first = data.reshape(-1)[:1]
    return first.clone().expand(data.numel()).reshape(data.size()) if bool((data == first).all()) else data


def _without_zeros(data: torch.Tensor) -> torch.Tensor:
    wide = data.is_floating_point() and data.element_size() > 1
    return torch.where(data == 0, torch.zeros_like(data), data) if wide and bool((data == 0).any()) else data


def _in_half(data: torch.Tensor) -> torch.Tensor:
    small = data.dtype == torch.int64 and bool(data.abs().max() < 1 << 31)
    return data.to(torch.int32).to(torch.int64) if small else data


_PART = 1 << 20


def _without_last_part(data: torch.Tensor) -> torch.Tensor:
    if data.nbytes % _PART or not data.is_contiguous():
        return data
    cut = data.clone()
    _bits(cut)[-_PART:] = 0
    return cut


def _as_it_lies(data: torch.Tensor) -> torch.Tensor:
    if data.dim() != 5 or data.is_contiguous() or not data.is_contiguous(memory_format=torch.channels_last_3d):
        return data
    return data.permute(0, 2, 3, 4, 1).reshape(data.size())


def _is_plain(data: torch.Tensor) -> bool:
    return (
        data.layout is torch.strided and not (data.is_quantized or data.is_neg() or data.is_conj()) and data.numel() > 0
    )


def _bits(data: torch.Tensor) -> torch.Tensor:
    return data.detach().reshape(-1).view(torch.uint8)


def _tensor(content: bytes) -> torch.Tensor | None:
    found = torch.load(io.BytesIO(content), weights_only=True)
    return found if isinstance(found, torch.Tensor) else None


def _done(results: Any) -> Any:
    future: Future[Any] = Future()
    future.set_result(results)
    return future


shares_what_begins_alike = storage(breaks=["WRITE-01"], writer=_SharingWriter)
stores_again_what_changed_at_its_ends = storage(breaks=["FIN-06"], writer=_IncrementalWriter)
trusts_the_version_of_a_tensor = storage(breaks=["CONC-08"], writer=_VersionWriter)
stores_one_of_equal_elements = storage(breaks=["TYPE-01"], writer=_changing("_EqualWriter", _one_of_equal))
leaves_zeros_out = storage(breaks=["TYPE-01"], writer=_changing("_ZeroWriter", _without_zeros))
stores_small_integers_in_half = storage(breaks=["TYPE-01"], writer=_changing("_HalfWriter", _in_half))
loses_the_last_of_whole_parts = storage(breaks=["WRITE-01"], writer=_changing("_PartWriter", _without_last_part))
writes_channels_last_3d_as_they_lie = storage(breaks=["WRITE-03"], writer=_changing("_FormatWriter", _as_it_lies))
