"""Bugs in planning reads and in reading: offsets, targets, coverage, ranks that ask for different things."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import LoadPlan
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType
from torch.distributed.checkpoint.utils import _assert_same_keys
from torch.distributed.tensor import DTensor

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.reference_impl import DefaultLoadPlanner, DefaultSavePlanner
from dcp_conformance.reference_impl.values import read_items
from tests.mutants.global_plan import planned
from tests.mutants.making import Tap, engine, storage
from tests.mutants.nesting import exchanged


class _Splits(DefaultLoadPlanner):
    """Reads a row less, and the row by itself."""

    def create_local_plan(self) -> LoadPlan:
        return LoadPlan([part for item in super().create_local_plan().items for part in _halves(item)])


def _halves(item: Any) -> list[Any]:
    if item.type is LoadItemType.BYTE_IO or not item.lengths or item.lengths[0] < 2:
        return [item]
    rest, moved = (item.lengths[0] - 1, *item.lengths[1:]), (1, *(0 for _ in item.lengths[1:]))
    second = replace(
        item,
        lengths=torch.Size(rest),
        storage_offsets=torch.Size(a + b for a, b in zip(item.storage_offsets, moved, strict=True)),
        dest_offsets=torch.Size(a + b for a, b in zip(item.dest_offsets, moved, strict=True)),
    )
    return [replace(item, lengths=torch.Size((1, *item.lengths[1:]))), second]


class _RowsReader(control.Reader):
    """Looks chunks up by the first of their offsets, which is all that sharding by rows needs."""

    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        by_row = {(index.fqn, (index.offset or [None])[0]): name for index, name in self._names.items()}
        self._names = {index: by_row[index.fqn, (index.offset or [None])[0]] for index in self._names}


class _LastChunkWriter(control.Writer):
    """Names chunks by a grid of four ranks, and takes the last column for the one before it."""

    def finish(self, metadata: Any, results: Any) -> None:
        seen: dict[str, list[Any]] = {}
        for result in sorted((one for rank in results for one in rank), key=lambda one: tuple(one.index.offset or ())):
            seen.setdefault(result.index.fqn, []).append(result)
        pairs = [chunks[-2:] for chunks in seen.values() if len(results) == 4 and len(chunks) in (2, 4)]
        names = {last.index: before.storage_data for before, last in pairs}
        changed = [
            [replace(one, storage_data=names.get(one.index, one.storage_data)) for one in rank] for rank in results
        ]
        super().finish(metadata, changed)


def before_load(change: Callable[[Any, dict[str, Any]], Any]) -> Callable[..., Any]:
    """The reference's load, given what `change(state, arguments)` returns in place of the state."""

    @functools.wraps(reference_impl.load)
    def load(state: Any, **kwargs: Any) -> Any:
        return reference_impl.load(change(state, kwargs), **kwargs)

    return load


def _reshaped(state: Any, arguments: dict[str, Any]) -> Any:
    """Views targets in the stored shape where the number of elements is the same, or at most one dimension off."""
    stored = arguments["storage_reader"].read_metadata().state_dict_metadata
    for key, value in list(state.items()):
        entry = stored.get(key)
        if (
            type(value) is torch.Tensor
            and isinstance(entry, TensorStorageMetadata)
            and value.numel() == entry.size.numel()
        ):
            state[key] = value.reshape(entry.size)
    return state


class _ThirdReader(control.Reader):
    """Forgets the third offset in the stored chunk."""

    def read_data(self, plan: LoadPlan, planner: Any) -> Any:
        items = [
            item
            if len(item.storage_offsets) < 3
            else replace(item, storage_offsets=torch.Size((*item.storage_offsets[:2], 0)))
            for item in plan.items
        ]
        return super().read_data(replace(plan, items=items), planner)


class _OnceReader(control.Reader):
    """Keeps the requests by the chunk that they want, one for each."""

    def read_data(self, plan: LoadPlan, planner: Any) -> Any:
        return super().read_data(
            replace(plan, items=list({item.storage_index: item for item in plan.items}.values())), planner
        )


class _Without(Tap):
    """A planner of which some methods are replaced."""

    def __init__(self, planner: Any, **methods: Any) -> None:
        super().__init__(planner)
        self.__dict__.update(methods)


class _SilentReader(control.Reader):
    """Takes the resolved tensor for the target itself, and commit_tensor for a courtesy."""

    def read_data(self, plan: LoadPlan, planner: Any) -> Any:
        return super().read_data(plan, _Without(planner, commit_tensor=lambda _item, _tensor: None))


class _DenseReader(control.Reader):
    """Receives into dense memory, and has forgotten that a target may not be dense."""

    def read_data(self, plan: LoadPlan, planner: Any) -> Any:
        return super().read_data(
            plan, _Without(planner, resolve_tensor=lambda item: planner.resolve_tensor(item).contiguous())
        )


def _without_scalars(state: Any, _arguments: dict[str, Any]) -> Any:
    return {key: value for key, value in state.items() if not (type(value) is torch.Tensor and value.dim() == 0)}


def _compared(state: Any, _arguments: dict[str, Any]) -> Any:
    if dist.is_initialized():
        _assert_same_keys(state)
    return state


@functools.wraps(reference_impl.load)
def _in_given_order(state: Any, **kwargs: Any) -> None:
    """Hands the loaded state to each object in the order of this rank's dictionary."""
    plain = {key: value.state_dict() if hasattr(value, "load_state_dict") else value for key, value in state.items()}
    reference_impl.load(plain, **kwargs)
    for key, value in list(state.items()):
        if hasattr(value, "load_state_dict"):
            value.load_state_dict(plain[key])
        else:
            state[key] = plain[key]


class _SixtyFour(DefaultLoadPlanner):
    """Has room for 64 reads of one tensor."""

    def create_local_plan(self) -> LoadPlan:
        counts: dict[str, int] = {}
        kept = []
        for item in super().create_local_plan().items:
            counts[item.dest_index.fqn] = counts.get(item.dest_index.fqn, 0) + 1
            if counts[item.dest_index.fqn] <= 64:
                kept.append(item)
        return LoadPlan(kept)


class _Twice(DefaultLoadPlanner):
    """Adds the first read once more, to warm up the connection."""

    def create_local_plan(self) -> LoadPlan:
        items = super().create_local_plan().items
        return LoadPlan([*items[:1], *items])


def _chunks_need_a_group(state: Any, arguments: dict[str, Any]) -> Any:
    stored = arguments["storage_reader"].read_metadata().state_dict_metadata.values()
    if not dist.is_initialized() and any(len(getattr(entry, "chunks", ())) > 1 for entry in stored):
        raise ValueError("Default process group has not been initialized")
    return state


class _FirstItemReader(control.Reader):
    """Chooses how to read by the first item of the plan."""

    def read_data(self, plan: LoadPlan, planner: Any) -> Any:
        assert plan.items[0].type in LoadItemType
        return super().read_data(plan, planner)


def _known_meshes(state: Any, _arguments: dict[str, Any]) -> Any:
    for value in state.values():
        if isinstance(value, DTensor) and set(value.device_mesh.mesh_dim_names or ()) - {
            "dp",
            "tp",
            "replicas",
            "shards",
        }:
            raise KeyError(value.device_mesh.mesh_dim_names)
    return state


class _TwoThreadsReader(control.Reader):
    """Reads one half of a plan in a second thread."""

    def read_data(self, plan: LoadPlan, planner: Any) -> Any:
        half = len(plan.items) // 2
        rest = replace(plan, items=plan.items[half:])
        thread = threading.Thread(target=lambda: super(_TwoThreadsReader, self).read_data(rest, planner))
        thread.start()
        result = super().read_data(replace(plan, items=plan.items[:half]), planner)
        thread.join()
        return result


_TOOLS: dict[str, type[Any]] = {"DefaultSavePlanner": DefaultSavePlanner, "DefaultLoadPlanner": DefaultLoadPlanner}

splits_reads = planned(
    breaks=["RES-01", "RES-02", "RES-03", "RES-04"],
    offers=("drop_in",),
    utilities={**_TOOLS, "DefaultLoadPlanner": _Splits},
)
finds_chunks_by_rows = storage(breaks=["RES-05", "RES-06", "RES-07"], reader=_RowsReader)
mistakes_the_last_chunk_of_four_ranks = storage(breaks=["SHARD-05", "SHARD-06"], writer=_LastChunkWriter)
accepts_missing_parts = exchanged(breaks=["RES-08"], loading=[(read_items, "_require_cover", lambda *_: None)])
reshapes_targets = engine(breaks=["RES-09"], load=before_load(_reshaped))
ignores_the_third_offset = storage(breaks=["RES-10"], reader=_ThirdReader)
reads_each_chunk_once = storage(breaks=["RES-10"], reader=_OnceReader)
never_commits = storage(breaks=["RES-11"], reader=_SilentReader)
fills_dense_targets_only = storage(breaks=["RES-12"], reader=_DenseReader)
skips_scalars = engine(breaks=["RES-13"], load=before_load(_without_scalars))
demands_equal_keys = engine(breaks=["RES-14", "RES-20"], load=before_load(_compared))
loads_stateful_in_given_order = engine(breaks=["RES-15"], load=_in_given_order)
gives_up_after_64_reads = planned(breaks=["RES-16"], load=_SixtyFour)
never_compares_keys = engine(
    breaks=["RES-17"], offers=("drop_in",), utilities={"_assert_same_keys": lambda _state, _group=None: None}
)
reads_the_first_twice = planned(breaks=["RES-18"], load=_Twice)
needs_a_group_for_chunks = engine(breaks=["RES-19"], load=before_load(_chunks_need_a_group))
looks_at_the_first_item = storage(breaks=["RES-20", "RES-22"], reader=_FirstItemReader)
knows_two_mesh_names = engine(breaks=["RES-21"], load=before_load(_known_meshes))
reads_in_two_threads = storage(breaks=["RES-23"], reader=_TwoThreadsReader)
