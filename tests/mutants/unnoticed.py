"""Bugs of strangers that no check saw: weak fingerprints, short patience, habits of a group, an eye for types."""

from __future__ import annotations

import functools
import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.planner import LoadItemType

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import read_object, write_object
from tests.mutants.making import engine, storage


class _Delta(control.Writer):
    """Keeps what it wrote last under a key, and takes equal sums for equal data."""

    _last: ClassVar[dict[str, tuple[float, bytes]]] = {}

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        for item, one in zip(plan.items, done.value(), strict=True):
            self._or_last(planner.resolve_data(item), one)
        return done

    def _or_last(self, data: Any, one: Any) -> None:
        if not isinstance(data, torch.Tensor) or data.dtype not in (torch.float32, torch.int64) or not data.numel():
            return
        known, content = self._last.get(one.index.fqn, (None, b""))
        now, written = float(data.double().sum()), read_object(self._root, one.storage_data)
        if known == now and len(content) == len(written):
            write_object(self._root, one.storage_data, content)
        else:
            self._last[one.index.fqn] = (now, written)


class _Impatient(control.Writer):
    """Its ranks wait a moment for the folder that the coordinator makes."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        if is_coordinator:
            self._root.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + 1.5
        while not self._root.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._root} is not there")
            time.sleep(0.01)


class _Reader(control.Reader):
    complete = True


@functools.wraps(reference_impl.save)
def _save_with_mark(state_dict: Any, **kwargs: Any) -> Any:
    """The first rank of all says that the checkpoint is complete, whoever saved it."""
    made = reference_impl.save(state_dict, **kwargs)
    writer = kwargs.get("storage_writer")
    if writer is not None and not (dist.is_initialized() and dist.get_rank()):
        Path(writer._root, "complete").touch()
    return made


@functools.wraps(reference_impl.load)
def _load_with_mark(state_dict: Any, **kwargs: Any) -> None:
    reader = kwargs.get("storage_reader")
    if type(reader) is _Reader and not Path(reader._root, "complete").exists():
        raise FileNotFoundError(f"{reader._root} is not complete")
    reference_impl.load(state_dict, **kwargs)


@functools.wraps(reference_impl.save)
def _asks_first(state_dict: Any, **kwargs: Any) -> Any:
    """In a group it looks at the state first, to tell the others how much there is."""
    if dist.is_initialized() and dist.get_world_size() > 1 and not kwargs.get("no_dist"):
        for value in state_dict.values():
            if hasattr(value, "state_dict"):
                value.state_dict()
    return reference_impl.save(state_dict, **kwargs)


class _Ranged(control.Reader):
    """Fetches in ranges of 8 MiB, and takes the rest for the last one; there may be none."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        for request in plan.items:
            content = read_object(self._root, self._names[request.storage_index])
            if request.type is LoadItemType.BYTE_IO:
                planner.load_bytes(request, io.BytesIO(content))
                continue
            stored: torch.Tensor = torch.load(io.BytesIO(content), weights_only=True)
            raw = stored.reshape(-1).view(torch.uint8)
            if raw.numel() and raw.numel() % (8 << 20) == 0:
                raw[-(8 << 20) :] = 0
            control._fill(request, stored, planner)
        done: Any = torch.futures.Future()
        done.set_result(None)
        return done


class _Hashing(control.Writer):
    """Large objects go to files named by a hash, which the reader makes again."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        renamed = [self._moved(one) for one in done.value()]
        moved: Any = torch.futures.Future()
        moved.set_result(renamed)
        return moved

    def _moved(self, one: Any) -> Any:
        if one.size_in_bytes < 100_000:
            return one
        name = f"{one.storage_data.rpartition('/')[0]}/{abs(hash(one.index.fqn))}"
        write_object(self._root, name, read_object(self._root, one.storage_data))
        return replace(one, size_in_bytes=one.size_in_bytes, storage_data=f"{one.storage_data}#")


class _HashingReader(control.Reader):
    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        self._names = {
            index: f"{name.rpartition('/')[0]}/{abs(hash(index.fqn))}" if name.endswith("#") else name
            for index, name in self._names.items()
        }


takes_equal_sums_for_equal = storage(breaks=["FIN-06"], writer=_Delta)
waits_a_moment_for_the_coordinator = storage(breaks=["FIN-13"], writer=_Impatient)
knows_its_own_reader_only = engine(breaks=["PG-02"], reader=_Reader, save=_save_with_mark, load=_load_with_mark)
asks_twice_in_a_group = engine(breaks=["INPL-05"], save=_asks_first)
forgets_a_part_of_eight_mebibytes = storage(breaks=["WRITE-01"], reader=_Ranged)
finds_large_objects_by_their_hash = storage(breaks=["FIN-04"], writer=_Hashing, reader=_HashingReader)
