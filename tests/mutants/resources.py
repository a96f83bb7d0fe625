"""Bugs in what operations cost and leave behind: memory, threads, descriptors, time."""

from __future__ import annotations

import copy
import functools
import threading
from typing import Any

import torch

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.reference_impl import AsyncCheckpointerType
from tests.mutants.making import Tap, engine, storage, torch_storage


class _Gathered(Tap):
    """A planner whose values were all asked for already."""

    def __init__(self, planner: Any, items: Any) -> None:
        super().__init__(planner)
        self._values = [(item, planner.resolve_data(item)) for item in items]
        self._values = [(item, value.clone() if hasattr(value, "clone") else value) for item, value in self._values]

    def resolve_data(self, wanted: Any) -> Any:
        return next(value for item, value in self._values if item is wanted)


class _GatheringWriter(control.Writer):
    def write_data(self, plan: Any, planner: Any) -> Any:
        return super().write_data(plan, _Gathered(planner, plan.items))


class _WholeBuffers:
    should_synchronize_after_execute = False

    def stage(self, state_dict: Any) -> Any:
        return copy.deepcopy(state_dict)

    def synchronize_staging(self) -> None:
        """It is done at once."""

    def close(self) -> None:
        """Nothing is held."""


@functools.wraps(reference_impl.async_save)
def _stages_buffers(state_dict: Any, **kwargs: Any) -> Any:
    return reference_impl.async_save(state_dict, **{**kwargs, "async_stager": _WholeBuffers()})


class _ThreadWriter(control.Writer):
    """Has a thread for every save that waits for work that never comes."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        return super().write_data(plan, planner)


_history: list[Any] = []


class _RememberingWriter(control.Writer):
    """Keeps the last values, to write only what changed, and forgets none."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        _history.extend(value.clone() for item in plan.items if hasattr(value := planner.resolve_data(item), "clone"))
        return super().write_data(plan, planner)


@functools.wraps(reference_impl.save)
def _compares(state_dict: Any, **kwargs: Any) -> Any:
    for item in state_dict.values():
        pieces = item.metadata().shards_metadata if hasattr(item, "local_shards") else []
        for one in pieces[::2]:
            for other in pieces:
                torch.equal(torch.tensor(one.shard_offsets), torch.tensor(other.shard_offsets))
    return reference_impl.save(state_dict, **kwargs)


@functools.wraps(reference_impl.async_save)
def _shares(state_dict: Any, **kwargs: Any) -> Any:
    if kwargs.get("async_checkpointer_type") is AsyncCheckpointerType.PROCESS:
        state_dict = {key: item.clone().share_memory_() for key, item in state_dict.items()}
    return reference_impl.async_save(state_dict, **kwargs)


class _OpeningReader(control.Reader):
    def read_data(self, plan: Any, planner: Any) -> Any:
        names = {self._names[request.storage_index] for request in plan.items}
        streams = [open(self._root / name, "rb") for name in names]  # noqa: SIM115
        try:
            return super().read_data(plan, planner)
        finally:
            for stream in streams:
                stream.close()


gathers_all_tensors_before_it_writes = storage(breaks=["RSRC-01"], writer=_GatheringWriter)
reads_the_chunk_for_every_piece = torch_storage(breaks=["RSRC-02", "RSRC-03"])
stages_whole_buffers = engine(breaks=["RSRC-04"], async_save=_stages_buffers)
starts_a_thread_for_every_save = storage(breaks=["RSRC-06"], writer=_ThreadWriter)
remembers_every_state = storage(breaks=["RSRC-07"], writer=_RememberingWriter)
compares_all_pieces_with_each_other = engine(breaks=["RSRC-08"], save=_compares)
shares_every_tensor_by_itself = engine(breaks=["RSRC-09"], async_save=_shares)
opens_all_files_at_once = storage(breaks=["RSRC-10"], reader=_OpeningReader)
