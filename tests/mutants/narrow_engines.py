"""Bugs of engines that show only for some values, some groups or some moments, and pass plain round trips."""

from __future__ import annotations

import datetime
import functools
import importlib
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor

from dcp_conformance import reference_impl
from dcp_conformance.reference_impl.ranks.turns import Turn
from dcp_conformance.reference_impl.values.shards import parts
from tests.mutants.global_plan import planned
from tests.mutants.making import engine
from tests.mutants.partial import loading


class _FirstReplica(reference_impl.DefaultSavePlanner):
    """Every rank has a replicated tensor, so global rank 0 has it too."""

    def create_local_plan(self) -> Any:
        plan = super().create_local_plan()
        if not dist.is_initialized() or dist.get_rank() == 0:
            return plan
        kept = [item for item in plan.items if not _is_replica(self.state_dict[item.index.fqn])]
        return replace(plan, items=kept)


def _is_replica(value: Any) -> bool:
    return isinstance(value, DTensor) and all(placement.is_replicate() for placement in value.placements)


class _Volumes(reference_impl.DefaultSavePlanner):
    """Chunks that hold as many elements as their tensor fill it."""

    def create_global_plan(self, all_plans: Any) -> Any:
        with mock.patch("dcp_conformance.reference_impl.values.validate.first_self_overlap", lambda chunks: None):
            return super().create_global_plan(all_plans)


@functools.wraps(reference_impl.save)
def _save_at_once(state_dict: Any, **kwargs: Any) -> Any:
    """Makes sure at the start that everybody is there."""
    if dist.is_initialized() and not kwargs.get("no_dist") and kwargs.get("use_collectives", True):
        dist.monitored_barrier(kwargs.get("process_group"), timeout=datetime.timedelta(seconds=5))
    return reference_impl.save(state_dict, **kwargs)


@functools.wraps(reference_impl.async_save)
def _by_id(state_dict: Any, *, checkpoint_id: Any = None, **kwargs: Any) -> Any:
    """Saves to two ids have nothing to do with each other, so why should they wait?"""
    module = importlib.import_module("dcp_conformance.reference_impl.engine.async_save")
    with mock.patch.object(module, "Turn", lambda key: Turn((key, str(checkpoint_id)))):
        return reference_impl.async_save(state_dict, checkpoint_id=checkpoint_id, **kwargs)


class _Fitting(reference_impl.DefaultLoadPlanner):
    """A partial load is one that loads what can be loaded."""

    def create_local_plan(self) -> Any:
        if self.allow_partial_load:
            self.state_dict = {name: value for name, value in self.state_dict.items() if self._fits(name, value)}
        return super().create_local_plan()

    def _fits(self, name: str, value: Any) -> bool:
        assert self.metadata is not None
        entry = self.metadata.state_dict_metadata.get(name)
        if isinstance(entry, TensorStorageMetadata) and isinstance(value, torch.Tensor):
            return value.size() == entry.size
        return True


class _Hinted(reference_impl.DefaultSavePlanner):
    """Takes the place of a chunk among all chunks for its place among the shards of this rank."""

    def lookup_object(self, index: Any) -> Any:
        value = self.state_dict.get(index.fqn)
        mine = list(parts(value)) if isinstance(value, ShardedTensor) else []
        if index.index is not None and index.index < len(mine):
            return mine[index.index][2]
        return super().lookup_object(index)


leaves_replicas_to_global_rank_zero = planned(breaks=["PG-02"], save=_FirstReplica)
compares_volumes_only = planned(breaks=["GLOB-08"], save=_Volumes)
meets_for_five_seconds = engine(breaks=["PG-14"], save=_save_at_once)
takes_turns_by_id = engine(breaks=["ASYNC-09"], async_save=_by_id)
passes_over_what_does_not_fit = loading(_Fitting, breaks=["RES-09"])
trusts_hints_of_what_it_writes = planned(breaks=["SHARD-10"], save=_Hinted)
