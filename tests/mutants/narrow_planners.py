"""Bugs of planners that show only for some names, some templates or some objects, and pass plain round trips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from dcp_conformance import reference_impl
from dcp_conformance.reference_impl.planners import plan_load, plan_save
from dcp_conformance.reference_impl.values import flatten as flattening
from tests.mutants.global_plan import planned
from tests.mutants.nesting import exchanged
from tests.mutants.objects import _Loading
from tests.mutants.partial import loading


class _Beginnings(reference_impl.DefaultLoadPlanner):
    """A key that begins others may be a container that was saved value by value."""

    def create_local_plan(self) -> Any:
        assert self.metadata is not None
        before, stored = self.state_dict, self.metadata.state_dict_metadata
        self.state_dict = {
            name: value
            for name, value in before.items()
            if name in stored or not any(key.startswith(str(name)) for key in stored)
        }
        plan = super().create_local_plan()
        self.state_dict = before
        return plan


class _WholeContainers(reference_impl.DefaultLoadPlanner):
    """Where part of a container is asked for, the rest was forgotten."""

    def create_local_plan(self) -> Any:
        assert self.metadata is not None
        plan = super().create_local_plan()
        asked = {str(name).rpartition(".")[0] for name in self.state_dict} - {""}
        left = self.metadata.state_dict_metadata.keys() - self.state_dict.keys()
        forgotten = sorted(name for name in left if name.rpartition(".")[0] in asked)
        if forgotten and not self.allow_partial_load:
            raise RuntimeError(f"Unexpected keys in checkpoint: {forgotten}")
        return plan


class _Unchanged(_Loading):
    """Does not touch what is right already."""

    def changed(self, old: Any, new: Any) -> Any:
        return old if isinstance(old, bool | int | float | str) and old == new else new


class _Refilling(_Loading):
    """Loads lists in place, as tensors are."""

    def changed(self, old: Any, new: Any) -> Any:
        if type(old) is not list or type(new) is not list:
            return new
        old[:] = new
        return old


def _set_by_digits(root: Any, path: Any, value: Any) -> None:
    for part in path[:-1]:
        root = root[flattening.child_key(root, part)]
    last = str(path[-1])
    if isinstance(root, list) or (last not in root and last.isdigit() and int(last) in root):
        root[int(last)] = value
    else:
        root[last] = value


def _flatten_trusting_lists(state_dict: Any) -> Any:
    """Places in a list differ from each other, so only keys of mappings are looked at."""
    flat = flattening.Flat()
    for path, places, value in flattening._leaves((), (), state_dict, top=True):
        name = ".".join(map(str, path))
        if not places and (name in flat.paths or name in flat.empty):
            raise ValueError(f"two values have the same flattened key {name!r}")
        known, paths = (flat.empty, flat.empty) if isinstance(value, dict) else (flat.values, flat.paths)
        known[name], paths[name] = value, path
        if places:
            flat.places[name] = places
    return flat


class _Joined(reference_impl.DefaultSavePlanner):
    """Tells items by their name and offset in one text."""

    def create_global_plan(self, all_plans: Any) -> Any:
        seen: dict[str, Any] = {}
        for plan in all_plans:
            for item in plan.items:
                seen.setdefault(".".join(map(str, (item.index.fqn, *(item.index.offset or ())))), item.index)
        kept = set(seen.values())
        return super().create_global_plan(
            [replace(plan, items=[item for item in plan.items if item.index in kept]) for plan in all_plans]
        )


class _Roomy(reference_impl.DefaultLoadPlanner):
    """Gives every tensor of the template memory."""

    def finish_plan(self, central_plan: Any) -> Any:
        for name, value in list(self.state_dict.items()):
            if type(value) is torch.Tensor and value.is_meta:
                self._put(name, torch.empty_like(value, device="cpu"))
        return super().finish_plan(central_plan)


class _TiedByAddress(reference_impl.DefaultLoadPlanner):
    """Takes targets that begin at one address for tied weights."""

    def create_local_plan(self) -> Any:
        plan = super().create_local_plan()
        first: dict[Any, str] = {}
        for name, value in self.state_dict.items():
            if type(value) is torch.Tensor and value.numel() and not value.is_meta:
                first.setdefault((value.data_ptr(), value.dtype), name)
        tied = {name for name, value in self.state_dict.items() if type(value) is torch.Tensor} - set(first.values())
        plan.items = [item for item in plan.items if item.dest_index.fqn not in tied]
        return plan


takes_beginnings_of_keys_for_keys = loading(_Beginnings, breaks=["PART-01"])
wants_all_of_a_container = loading(_WholeContainers, breaks=["PART-03"])
leaves_what_is_equal = loading(_Unchanged, breaks=["BYTE-01"])
refills_lists = loading(_Refilling, breaks=["BYTE-04"])
knows_integers_by_their_digits = exchanged(breaks=["NEST-08"], loading=[(plan_load, "set_path", _set_by_digits)])
finds_clashes_of_mapping_keys_only = exchanged(
    breaks=["NEST-05"], saving=[(plan_save, "flatten", _flatten_trusting_lists)]
)
joins_names_and_offsets = planned(breaks=["GLOB-02"], save=_Joined)
gives_memory_to_what_it_passes_over = loading(_Roomy, breaks=["PART-05"])
reads_an_address_once = loading(_TiedByAddress, breaks=["RES-18"])
