"""Bugs of strangers that no check saw: weak fingerprints, short patience, habits of a group, an eye for types."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist

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


takes_equal_sums_for_equal = storage(breaks=["TYPE-02"], writer=_Delta)
waits_a_moment_for_the_coordinator = storage(breaks=["FIN-13"], writer=_Impatient)
knows_its_own_reader_only = engine(breaks=["PG-02"], reader=_Reader, save=_save_with_mark, load=_load_with_mark)
asks_twice_in_a_group = engine(breaks=["INPL-05"], save=_asks_first)
