"""Bugs in how replicated and sharded values of models are stored and loaded; several need 3 or 4 ranks."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.checkpoint.planner import WriteItemType

from dcp_conformance.harness import control
from dcp_conformance.reference_impl import DefaultSavePlanner
from tests.mutants.global_plan import given_twice, planned
from tests.mutants.making import engine, storage
from tests.mutants.resharding import before_load


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _unless(drop: Any) -> Any:
    """A change of the state to load: leaves of nested dictionaries for which drop(key, value) are not loaded."""

    def kept(state: Any, _arguments: Any = None) -> Any:
        return {
            key: kept(value) if isinstance(value, dict) else value
            for key, value in state.items()
            if not drop(key, value)
        }

    def in_place(state: Any, _arguments: Any) -> Any:
        return kept(state)

    return in_place


class _EachReplica(DefaultSavePlanner):
    """Compares whole tensors on a 2-D mesh with their neighbours only, and so stores each replica of a shard."""

    def create_global_plan(self, all_plans: list[Any]) -> Any:
        plans, metadata = super().create_global_plan(all_plans)

        def on_a_grid(item: Any, ranks: list[int]) -> bool:
            return item.type is WriteItemType.SHARD and len(ranks) == 2 and ranks[1] - ranks[0] == 2

        return given_twice(plans, all_plans, on_a_grid), metadata


class _Unsigned(DefaultSavePlanner):
    """Balances what is large without a look at whether the replicas are any."""

    def create_local_plan(self) -> Any:
        plan = super().create_local_plan()
        kept = {key: path for key, path in (plan.planner_data or {}).items() if not key.startswith("\0")}
        return dataclasses.replace(plan, planner_data=kept)


class _LastFirst(DefaultSavePlanner):
    """Looks for the owner of a value among the last ranks first."""

    def create_global_plan(self, all_plans: list[Any]) -> Any:
        plans, metadata = super().create_global_plan(all_plans[::-1])
        return plans[::-1], metadata


class _OwnRanksReader(control.Reader):
    """Expects the files of as many ranks as there are now."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        ranks = dist.get_world_size() if dist.is_initialized() else 1
        for name in {self._names[item.storage_index] for item in plan.items}:
            if int(name.rpartition("/")[2].partition("-")[0]) >= ranks:
                raise FileNotFoundError(name)
        return super().read_data(plan, planner)


class _NoEmptyWriter(control.Writer):
    """Takes a shard without elements for an error."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        for item in plan.items:
            if item.type is WriteItemType.SHARD and 0 in item.tensor_data.chunk.sizes:
                raise ValueError(f"{item.index.fqn} has no elements")
        return super().write_data(plan, planner)


class _OneShardWriter(control.Writer):
    """Keeps the shards of a rank by the name of their tensor."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, [list({item.index.fqn: item for item in rank}.values()) for rank in results])


loads_replicas_on_two_ranks = engine(
    breaks=["REPL-01"],
    load=before_load(_unless(lambda _key, value: type(value) is torch.Tensor and _rank() >= 2)),
)
stores_shards_of_each_replica = planned(breaks=["REPL-02"], save=_EachReplica)
reads_files_of_its_own_ranks = storage(breaks=["REPL-03", "RES-19"], reader=_OwnRanksReader)
keeps_any_of_different_values = planned(breaks=["REPL-04"], save=_LastFirst)
keeps_small_values_of_rank_zero = planned(breaks=["REPL-04"], save=_Unsigned)
leaves_sharded_tensors_alone = engine(
    breaks=["SHARD-01", "SHARD-02", "SHARD-03"],
    load=before_load(_unless(lambda _key, value: isinstance(value, ShardedTensor))),
)
forgets_the_second_moment = engine(
    breaks=["SHARD-04", "SHARD-11"], load=before_load(_unless(lambda key, _value: "exp_avg_sq" in str(key)))
)
cannot_write_empty_shards = storage(breaks=["SHARD-07"], writer=_NoEmptyWriter)
forgets_extra_state = engine(breaks=["SHARD-08"], load=before_load(_unless(lambda key, _value: key == "_extra_state")))
leaves_ranks_beyond_the_mesh_out = engine(
    breaks=["SHARD-09"],
    load=before_load(_unless(lambda key, _value: key in ("two-of-three", "three-of-four") and _rank() == 2)),
)
writes_one_shard_a_rank = storage(breaks=["SHARD-10"], writer=_OneShardWriter)
keeps_prefixes_of_wrappers = engine(
    breaks=["SHARD-12"], utilities={"get_model_state_dict": lambda model, **_options: dict(model.state_dict())}
)
