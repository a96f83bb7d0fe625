"""The default save planner: from a state dict to items to write, one owner each, and the checkpoint's metadata."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import torch

from dcp_conformance.reference_impl.interchange import (
    BytesStorageMetadata,
    Metadata,
    MetadataIndex,
    SavePlan,
    SavePlanner,
    StateDict,
    StorageMeta,
    TensorStorageMetadata,
    WriteItem,
    WriteItemType,
)
from dcp_conformance.reference_impl.planners import replicas
from dcp_conformance.reference_impl.values.dedup import assign_owners
from dcp_conformance.reference_impl.values.dtypes import refuse_unstorable
from dcp_conformance.reference_impl.values.flatten import Flat, Path, flatten, merge_planner_data, refuse_read_only
from dcp_conformance.reference_impl.values.shards import find_part, is_tensor, write_items
from dcp_conformance.reference_impl.values.validate import agreement_errors, coverage_errors, raise_if


class DefaultSavePlanner(SavePlanner):
    """Plans a save; extend it by overriding single methods, as described at ``SavePlanner``.

    Args:
        flatten_state_dict: descend into mappings and lists, so that every value gets an entry of its own.
        flatten_sharded_tensors: accepted for compatibility; nested ShardedTensors are always understood.
        dedup_replicated_tensors: accepted for compatibility; without effect, as in torch.
        dedup_save_to_lowest_rank: the lowest rank that holds a replicated value writes it.
        enable_plan_caching: accepted for compatibility. Plans are always made anew: a cached plan goes wrong when
            dtypes or nesting change between saves.
    """

    def __init__(
        self,
        flatten_state_dict: bool = True,
        flatten_sharded_tensors: bool = True,
        dedup_replicated_tensors: bool | None = None,
        dedup_save_to_lowest_rank: bool = False,
        enable_plan_caching: bool = False,
    ) -> None:
        self.flatten_state_dict = flatten_state_dict
        self.flatten_sharded_tensors = flatten_sharded_tensors
        self.dedup_save_to_lowest_rank = dedup_save_to_lowest_rank
        self.enable_plan_caching = enable_plan_caching
        #: Set by the engine for ranks that save alone; they may hold parts of a tensor only.
        self.allow_incomplete = False
        self.mappings: dict[str, Path] = {}

    def set_up_planner(
        self, state_dict: StateDict, storage_meta: StorageMeta | None = None, is_coordinator: bool = False
    ) -> None:
        """Bind the planner to a state dict. Raises ValueError for two values with one flat name."""
        self._flat: Flat | None = None
        if self.flatten_state_dict:
            # At the save: found out at a load, the checkpoint would be all that there is.
            refuse_read_only(state_dict)
            self._flat = flatten(state_dict)
            self.mappings = self._flat.paths
            state_dict = self._flat.values
        self.state_dict = state_dict
        self.is_coordinator = is_coordinator

    def create_local_plan(self) -> SavePlan:
        """Return the items for what this rank holds. Raises TypeError naming a tensor that cannot be stored."""
        plan = local_save_plan(self.state_dict)
        if self._flat is not None:
            plan = replace(plan, planner_data=self._flat.planner_data())
        plan = replicas.signed(plan, self.state_dict)
        self.plan = plan
        return plan

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        """Choose one owner for each value, and make the metadata. ValueError where the plans do not fit."""
        # First: the digests stand in the planner data, which what follows merges into the metadata.
        differ, all_plans = replicas.compared(all_plans)
        raise_if(agreement_errors(all_plans))
        # Where replicas differ one rank writes all of them, so that what is stored is a state that some rank had.
        owned = assign_owners(all_plans, to_lowest_rank=self.dedup_save_to_lowest_rank, replicas_differ=differ)
        plans, metadata = global_save_plan(owned)
        if self.flatten_state_dict:
            metadata = replace(metadata, planner_data=merge_planner_data([plan.planner_data for plan in all_plans]))
        # On the result, not on the plans: only all of them together show a gap or an overlap.
        raise_if(coverage_errors(metadata, allow_incomplete=self.allow_incomplete))
        self.global_plan, self.metadata = plans, metadata
        return plans, metadata

    def finish_plan(self, new_plan: SavePlan) -> SavePlan:
        """Accept the plan that came back from the coordinator."""
        self.plan = new_plan
        return new_plan

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        """Return the tensor to store, or the serialised object; made when asked for, from any thread."""
        return self.transform_object(write_item, self.lookup_object(write_item.index))

    def lookup_object(self, index: MetadataIndex) -> Any:
        """Return the value that an item refers to.

        Override to look elsewhere. Raises ValueError where there is none.
        """
        if index.fqn not in self.state_dict:
            raise ValueError(f"there is no value called {index.fqn!r}")
        value = self.state_dict[index.fqn]
        if is_tensor(value):
            return find_part(value, index)
        if index.offset is not None:
            raise ValueError(f"{index.fqn!r} is not a tensor; it has no part at offset {tuple(index.offset)}")
        return value

    def transform_object(self, write_item: WriteItem, object: Any) -> torch.Tensor | io.BytesIO:
        """Serialise objects, pass tensors on; override to store something else."""
        if write_item.type != WriteItemType.BYTE_IO:
            return object  # type: ignore[no-any-return]
        buffer = io.BytesIO()
        # Here and not in the storage: bytes are all that a storage sees of an object.
        torch.save(object, buffer)
        return buffer


def local_save_plan(state_dict: StateDict) -> SavePlan:
    """Return the items for all that this rank holds. Raises TypeError naming a tensor that cannot be stored."""
    items: list[WriteItem] = []
    for name, value in state_dict.items():
        # Before anything is written, on this rank, and by name.
        refuse_unstorable(name, value)
        items.extend(write_items(name, value))
    return SavePlan(items)


def global_save_plan(plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
    """Return the metadata of all items, and the plans with each hint pointing at its chunk in the metadata."""
    entries: dict[str, TensorStorageMetadata | BytesStorageMetadata] = {}
    hinted = [replace(plan, items=[_recorded(item, entries) for item in plan.items]) for plan in plans]
    return hinted, Metadata(entries)


def _recorded(item: WriteItem, entries: dict[str, TensorStorageMetadata | BytesStorageMetadata]) -> WriteItem:
    name, data = item.index.fqn, item.tensor_data
    if data is None:
        entries[name] = BytesStorageMetadata()
        return item
    entry = entries.setdefault(name, TensorStorageMetadata(properties=data.properties, size=data.size, chunks=[]))
    if not isinstance(entry, TensorStorageMetadata):
        raise ValueError(f"{name!r} is stored both as an object and as a tensor")
    entry.chunks.append(data.chunk)
    # The hint is the chunk's place in the merged list, which no rank could know before.
    return replace(item, index=replace(item.index, index=len(entry.chunks) - 1))
