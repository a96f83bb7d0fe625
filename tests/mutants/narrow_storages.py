"""Bugs of storage pairs that show only for some items, some reads or some crashes, and pass plain round trips."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import LoadItemType, WriteItemType

from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import _digest, read_object, write_object
from tests.mutants.corruption import _Careless, _Reading
from tests.mutants.making import Changed, storage


class _LockingWriter(control.Writer):
    """Guards its commit by a lock file, and gives the lock up when all went well."""

    def finish(self, metadata: Any, results: Any) -> None:
        lock = self._root / f"lock-{self._rank if self._alone else 'all'}"
        self._root.mkdir(parents=True, exist_ok=True)
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        super().finish(metadata, results)
        lock.unlink()


class _PartReader(_Careless):
    """Of a large object of which little is wanted it reads only that, and so cannot verify it."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        self._wanted: dict[str, int] = {}
        for item in plan.items:
            name = self._names[item.storage_index]
            self._wanted[name] = self._wanted.get(name, 0) + item.lengths.numel() * 8
        return super().read_data(plan, planner)

    def content(self, name: str) -> bytes | None:
        size = os.path.getsize(self._root / name)
        little = size > 1 << 16 and self._wanted[name] * 2 < size
        return super().content(name) if little else read_object(self._root, name)


class _RawWriter(control.Writer):
    """Stores of a tensor its elements alone."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        for item, result in zip(plan.items, done.wait(), strict=True):
            if item.type is not WriteItemType.BYTE_IO:
                name = result.storage_data
                stored = torch.load(io.BytesIO(read_object(self._root, name)), weights_only=True)
                write_object(self._root, name, stored.reshape(-1).view(torch.uint8).numpy().tobytes())
        return done


class _RawReader(_Reading):
    """Reads into memory of the right size, and does not look at how much came."""

    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        self._empty: dict[str, torch.Tensor] = {}
        for key, entry in metadata.state_dict_metadata.items():
            for chunk in getattr(entry, "chunks", ()):
                name = self._names[MetadataIndex(key, chunk.offsets)]
                self._empty[name] = torch.zeros(chunk.sizes, dtype=entry.properties.dtype)

    def content(self, name: str) -> bytes | None:
        if name not in self._empty:
            return super().content(name)
        tensor = self._empty[name].clone()
        data = bytearray(32 + tensor.nbytes)
        with open(self._root / name, "rb", buffering=0) as file:
            count = file.readinto(data)
        if count == len(data) and _digest(name, bytes(data[32:])) != data[:32]:
            raise ValueError(f"{name} is damaged")
        if tensor.nbytes:
            tensor.reshape(-1).view(torch.uint8).copy_(torch.frombuffer(data, dtype=torch.uint8, offset=32))
        stream = io.BytesIO()
        torch.save(tensor, stream)
        return stream.getvalue()


class _CutNamesWriter(control.Writer):
    """Finds the object of an item by its key, of which a file name holds 180 characters."""

    def finish(self, metadata: Any, results: Any) -> None:
        names = {_cut(one.index): one.storage_data for rank in results for one in rank}
        super().finish(
            metadata, [[replace(one, storage_data=names[_cut(one.index)]) for one in rank] for rank in results]
        )


def _cut(index: MetadataIndex) -> tuple[str, torch.Size | None]:
    return index.fqn[:180], index.offset


class _Quarantine(_Reading):
    """Renames what is damaged, so that nobody reads it again."""

    def content(self, name: str) -> bytes | None:
        try:
            return super().content(name)
        except ValueError:
            os.rename(self._root / name, self._root / f"{name}.corrupt")
            raise


class _Unnegated(control.Writer):
    """Copies the memory of a dense tensor as it is, and forgets that its flag says that it is negated."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(tensor: torch.Tensor) -> torch.Tensor:
            return torch._neg_view(tensor) if tensor.is_neg() and tensor.is_contiguous() else tensor

        return super().write_data(plan, Changed(planner, change))


class _OnceWriter(control.Writer):
    """Takes tensors with one address, size and dtype for tied weights."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        seen: dict[Any, torch.Tensor] = {}

        def change(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.layout is not torch.strided or not tensor.numel():
                return tensor
            return seen.setdefault((tensor.data_ptr(), tensor.nbytes, tensor.dtype), tensor)

        return super().write_data(plan, Changed(planner, change))


class _RowsReader(control.Reader):
    """Reads a run of rows by itself, and takes the second size for the length of a row."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        if len(plan.items) != 1 or plan.items[0].type is LoadItemType.BYTE_IO or len(plan.items[0].lengths) < 2:
            return super().read_data(plan, planner)
        [item] = plan.items
        stored = torch.load(io.BytesIO(read_object(self._root, self._names[item.storage_index])), weights_only=True)
        if item.lengths[1:] != stored.shape[1:]:
            return super().read_data(plan, planner)
        start = item.storage_offsets[0] * stored.shape[1]
        rows = stored.reshape(-1)[start : start + item.lengths.numel()].reshape(item.lengths)
        control._fill(replace(item, storage_offsets=torch.Size([0] * rows.dim())), rows, planner)
        return super().read_data(replace(plan, items=[]), planner)


leaves_its_lock = storage(breaks=["FIN-10"], writer=_LockingWriter)
verifies_whole_objects_only = storage(breaks=["CORR-03"], reader=_PartReader)
takes_cut_tensors_for_zeros = storage(breaks=["CORR-02"], writer=_RawWriter, reader=_RawReader)
cuts_long_keys = storage(breaks=["SEC-05"], writer=_CutNamesWriter)
sets_damaged_objects_aside = storage(breaks=["RMD-09"], reader=_Quarantine)
forgets_negation = storage(breaks=["WRITE-03"], writer=_Unnegated)
stores_an_address_once = storage(breaks=["WRITE-03"], writer=_OnceWriter)
knows_rows_of_tables_only = storage(breaks=["RES-10"], reader=_RowsReader)
