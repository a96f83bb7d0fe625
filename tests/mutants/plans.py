"""Bugs in what is planned to be saved."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, TensorProperties
from torch.distributed.checkpoint.planner import WriteItemType
from torch.distributed.tensor import DTensor, Partial

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from tests.mutants.making import engine, storage


class _ChangedPlanner(reference_impl.DefaultSavePlanner):
    """The reference's planner with every item of the local plan changed in one way."""

    def create_local_plan(self) -> Any:
        plan = super().create_local_plan()
        return dataclasses.replace(plan, items=[self.changed(item) for item in plan.items])

    def changed(self, item: Any) -> Any:
        return item


class _WithoutDtype(_ChangedPlanner):
    """Describes every tensor as one of the default dtype."""

    def changed(self, item: Any) -> Any:
        if item.tensor_data is None:
            return item
        data = dataclasses.replace(item.tensor_data, properties=TensorProperties(dtype=torch.float64))
        return dataclasses.replace(item, tensor_data=data)


class _FromZero(_ChangedPlanner):
    """Gives the place of a shard in its own rank for its place in the whole."""

    def changed(self, item: Any) -> Any:
        if item.type is not WriteItemType.SHARD:
            return item
        offsets = torch.Size([0] * len(item.tensor_data.size))
        chunk = ChunkStorageMetadata(offsets, item.tensor_data.chunk.sizes)
        index = dataclasses.replace(item.index, offset=offsets)
        return dataclasses.replace(item, index=index, tensor_data=dataclasses.replace(item.tensor_data, chunk=chunk))


class _OffsetForObjects(_ChangedPlanner):
    def changed(self, item: Any) -> Any:
        if item.type is not WriteItemType.BYTE_IO:
            return item
        return dataclasses.replace(item, index=dataclasses.replace(item.index, offset=torch.Size([0])))


class _WithoutHooks(reference_impl.DefaultSavePlanner):
    """Knows DTensors, and takes every other tensor for a plain one."""

    def set_up_planner(self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False) -> None:
        plain = {
            key: value.as_subclass(torch.Tensor)
            if hasattr(value, "__create_write_items__") and not isinstance(value, DTensor)
            else value
            for key, value in state_dict.items()
        }  # fmt: skip
        super().set_up_planner(plain, storage_meta, is_coordinator)


def _planner(kind: Any, *, breaks: Sequence[str]) -> Any:
    return engine(
        breaks=breaks, utilities={"DefaultSavePlanner": kind, "DefaultLoadPlanner": reference_impl.DefaultLoadPlanner}
    )


def _save_common(state: Any, **given: Any) -> Any:
    """Takes rank 0's keys for everybody's."""
    if dist.is_initialized() and dist.get_world_size() > 1 and not given.get("no_dist") and isinstance(state, Mapping):
        keys = [list(state)]
        dist.broadcast_object_list(keys, src=0)
        state = {key: state[key] for key in keys[0] if key in state}
    return reference_impl.save(state, **given)


def _save_eagerly(state: Any, **given: Any) -> Any:
    """Makes sure before it plans that everything can be stored."""
    if isinstance(state, Mapping):
        held = [value.clone() if isinstance(value, torch.Tensor) else pickle.dumps(value) for value in state.values()]
        metadata = reference_impl.save(dict(state), **given)
        del held
        return metadata
    return reference_impl.save(state, **given)


def _save_as_usual(state: Any, **given: Any) -> Any:
    given.pop("planner", None)
    return reference_impl.save(state, **given)


def _save_parts(state: Any, **given: Any) -> Any:
    """Takes partial sums for the values of the rank that has them."""
    if isinstance(state, Mapping):
        state = {key: value.to_local() if _is_partial(value) else value for key, value in state.items()}
    return reference_impl.save(state, **given)


def _is_partial(value: Any) -> bool:
    return isinstance(value, DTensor) and any(isinstance(placement, Partial) for placement in value.placements)


class _DroppingWriter(control.Writer):
    """Spares items that have no elements a file of their own."""

    def prepare_local_plan(self, plan: Any) -> Any:
        kept = [item for item in plan.items if item.tensor_data is None or 0 not in item.tensor_data.chunk.sizes]
        return super().prepare_local_plan(dataclasses.replace(plan, items=kept))


def _save_elements(state: Any, **given: Any) -> Any:
    if isinstance(state, Mapping):
        state = {key: value for key, value in state.items() if not isinstance(value, torch.Tensor) or _count(value)}
    return reference_impl.save(state, **given)


def _count(tensor: Any) -> int:
    return int(tensor.to_local().numel() if isinstance(tensor, DTensor) else tensor.numel())


forgets_the_dtype = _planner(_WithoutDtype, breaks=["PLAN-01"])
plans_shards_from_zero = _planner(_FromZero, breaks=["PLAN-02", "PLAN-03"])
gives_objects_an_offset = _planner(_OffsetForObjects, breaks=["PLAN-04"])
saves_keys_of_rank_zero = engine(breaks=["PLAN-06"], save=_save_common)
takes_hooks_for_plain_tensors = _planner(_WithoutHooks, breaks=["PLAN-07"])
pickles_and_copies_early = engine(breaks=["PLAN-08"], save=_save_eagerly)
ignores_planners = engine(breaks=["PLAN-09"], save=_save_as_usual)
saves_partial_sums = engine(breaks=["PLAN-10"], save=_save_parts)
drops_empty_items = storage(breaks=["PLAN-11"], writer=_DroppingWriter)
skips_tensors_without_elements = engine(breaks=["PLAN-12", "PLAN-13"], save=_save_elements)
