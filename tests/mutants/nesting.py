"""Bugs in taking nested states apart and in putting them together again."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.checkpoint._traverse import get_element, set_element
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys

from dcp_conformance import reference_impl
from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.reference_impl.planners import plan_load, plan_save
from dcp_conformance.reference_impl.values import flatten as flattening
from tests.mutants.making import engine, storage
from tests.mutants.partial import loading


@contextlib.contextmanager
def _patched(changes: list[tuple[Any, str, Any]]) -> Iterator[None]:
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def exchanged(*, breaks: Sequence[str], saving: Any = (), loading: Any = ()) -> Backend:
    """The reference's engine with functions of its own exchanged while it saves and while it loads."""

    def save(state_dict: Any, **options: Any) -> Any:
        with _patched(list(saving)):
            return reference_impl.save(state_dict, **options)

    def load(state_dict: Any, **options: Any) -> None:
        with _patched(list(loading)):
            reference_impl.load(state_dict, **options)

    return engine(breaks=breaks, save=save, load=load)


class _Pathless(reference_impl.DefaultSavePlanner):
    def create_global_plan(self, all_plans: Any) -> Any:
        plans, metadata = super().create_global_plan(all_plans)
        return plans, replace(metadata, planner_data=None)


def _saving(planner: Callable[[], Any]) -> Callable[..., Any]:
    def save(state_dict: Any, **options: Any) -> Any:
        options["planner"] = options.get("planner") or planner()
        return reference_impl.save(state_dict, **options)

    return save


def _by_slashes(state_dict: Any) -> Any:
    flat = flattening.flatten(state_dict)

    def renamed(found: dict[str, Any]) -> dict[str, Any]:
        return {"/".join(map(str, (flat.paths | flat.empty)[name])): item for name, item in found.items()}

    return flattening.Flat(*map(renamed, (flat.values, flat.paths, flat.empty, flat.places)))


def _lists(value: Any) -> Any:
    if isinstance(value, tuple) and any(isinstance(item, torch.Tensor) for item in value):
        return list(value)
    return value


def _save_tuples_flat(state_dict: Any, **options: Any) -> Any:
    return reference_impl.save({key: _lists(value) for key, value in state_dict.items()}, **options)


def _load_tuples_flat(state_dict: Any, **options: Any) -> None:
    changed = {key: _lists(value) for key, value in state_dict.items() if _lists(value) is not value}
    whole = {**state_dict, **changed} if changed else state_dict
    reference_impl.load(whole, **options)
    if changed:
        state_dict.update({key: tuple(value) if key in changed else value for key, value in whole.items()})


def _at_dots(root: Any, path: Any, value: Any) -> None:
    flattening.set_path(root, tuple(".".join(map(str, path)).split(".")), value)


def _last_wins(state_dict: Any) -> Any:
    try:
        return flattening.flatten(state_dict)
    except ValueError:
        flat = flattening.Flat()
        for path, places, value in flattening._leaves((), (), state_dict, top=True):
            name = ".".join(map(str, path))
            flat.values[name], flat.paths[name], flat.places[name] = value, path, places
        return flat


def _set_with_zeros(root: Any, path: Any, value: Any) -> None:
    set_element(root, path, value)
    for part, following in zip(path, path[1:], strict=False):
        root = root[part]
        if isinstance(root, list):
            root[:following] = [0 if item is None else item for item in root[:following]]


def _get_strictly(root: Any, path: Any, default: Any = None) -> Any:
    for part in path:
        if part not in root if isinstance(root, dict) else not isinstance(root, list):
            return default
        root = root[part]
    return root


def _set_strings(root: Any, path: Any, value: Any) -> None:
    for part in path[:-1]:
        root = root[part]
    root[path[-1] if isinstance(root, list) else str(path[-1])] = value


def _without_empty(state_dict: Any) -> Any:
    flat = flattening.flatten(state_dict)
    flat.empty.clear()
    return flat


class _SaveFlat(reference_impl.DefaultSavePlanner):
    def __init__(self, flatten_state_dict: bool = True, **options: Any) -> None:
        super().__init__(**options)


class _LoadFlat(reference_impl.DefaultLoadPlanner):
    def __init__(self, flatten_state_dict: bool = True, **options: Any) -> None:
        super().__init__(**options)


class _OuterOffset(reference_impl.DefaultSavePlanner):
    """Places each inner shard where its outer shard begins."""

    def create_local_plan(self) -> Any:
        plan = super().create_local_plan()
        return replace(plan, items=[self._moved(item) for item in plan.items])

    def _moved(self, item: Any) -> Any:
        value = self.state_dict.get(item.index.fqn)
        if not isinstance(value, ShardedTensor) or not isinstance(value.local_shards()[0].tensor, ShardedTensor):
            return item
        offsets = torch.Size(value.local_shards()[0].metadata.shard_offsets)
        data = replace(item.tensor_data, chunk=replace(item.tensor_data.chunk, offsets=offsets))
        return replace(item, index=replace(item.index, offset=offsets), tensor_data=data)


def _set_outside_lists(root: Any, path: Any, value: Any) -> None:
    for part in path[:-1]:
        root = root[flattening.child_key(root, part)]
    if not isinstance(root, list):
        root[flattening.child_key(root, path[-1])] = value


def _save_with_cycle(state_dict: Any, **options: Any) -> Any:
    def walk(value: Any) -> None:
        for item in value.values() if isinstance(value, Mapping) else ():
            walk(item)
        found.append(state_dict)

    found: list[Any] = []
    walk(state_dict)
    return reference_impl.save(state_dict, **options)


def _dicts_only(state_dict: Any) -> Any:
    foreign = (collections.UserDict, collections.ChainMap)
    return flattening.flatten(
        {key: _hidden(value, foreign) for key, value in state_dict.items()}
    )  # fmt: skip


def _hidden(value: Any, foreign: tuple[type, ...]) -> Any:
    if isinstance(value, foreign):
        return object()
    return {key: _hidden(item, foreign) for key, item in value.items()} if type(value) is dict else value


def _load_sorted(state_dict: Any, **options: Any) -> None:
    ordered = {key: state_dict[key] for key in sorted(state_dict)}
    reference_impl.load(ordered, **options)
    for key in state_dict.keys() & ordered.keys():
        if not hasattr(state_dict[key], "load_state_dict"):
            state_dict[key] = ordered[key]


def _shallow(state_dict: Any) -> Any:
    level = [state_dict]
    for _ in range(100):
        level = [item for value in level if isinstance(value, Mapping) for item in value.values()]
    if any(isinstance(value, Mapping) for value in level):
        raise RecursionError("maximum recursion depth exceeded")
    return flattening.flatten(state_dict)


keeps_no_paths = engine(breaks=["NEST-01"], save=_saving(_Pathless))
joins_keys_by_slashes = exchanged(
    breaks=["NEST-01", "NEST-02"],
    saving=[(plan_save, "flatten", _by_slashes)], loading=[(plan_load, "flatten", _by_slashes)],
)  # fmt: skip
flattens_every_list = exchanged(
    breaks=["NEST-02", "BYTE-04"],
    saving=[(flattening, "holds_more", bool)], loading=[(flattening, "holds_more", bool)],
)  # fmt: skip
flattens_tuples = engine(breaks=["NEST-03", "BYTE-06"], save=_save_tuples_flat, load=_load_tuples_flat)
takes_names_apart_at_dots = exchanged(breaks=["NEST-04"], loading=[(plan_load, "set_path", _at_dots)])
keeps_the_last_of_two_values = exchanged(breaks=["NEST-05"], saving=[(plan_save, "flatten", _last_wins)])
extends_lists_with_zeros = storage(
    breaks=["NEST-07"],
    offers=("drop_in",), utilities={"set_element": _set_with_zeros, "get_element": get_element},
)  # fmt: skip
fails_for_missing_paths = storage(
    breaks=["NEST-07"],
    offers=("drop_in",), utilities={"set_element": set_element, "get_element": _get_strictly},
)  # fmt: skip
turns_integer_keys_into_strings = exchanged(breaks=["NEST-08"], loading=[(plan_load, "set_path", _set_strings)])
rebuilds_with_string_keys = storage(
    breaks=["NEST-09"], utilities={"_load_state_dict_from_keys": _load_state_dict_from_keys}
)
drops_empty_mappings = exchanged(breaks=["NEST-10"], saving=[(plan_save, "flatten", _without_empty)])
always_flattens = loading(
    _LoadFlat,
    breaks=["NEST-11"],
    save=_saving(_SaveFlat),
    utilities={"DefaultSavePlanner": _SaveFlat, "DefaultLoadPlanner": _LoadFlat},
)
forgets_the_inner_offset = engine(breaks=["NEST-12"], save=_saving(_OuterOffset))
forgets_objects_in_lists = exchanged(
    breaks=["NEST-13", "NEST-04"], loading=[(plan_load, "set_path", _set_outside_lists)]
)
leaves_a_cycle = engine(breaks=["NEST-14"], save=_save_with_cycle)
takes_foreign_mappings_for_objects = exchanged(breaks=["NEST-15"], loading=[(plan_load, "flatten", _dicts_only)])
sorts_mixed_keys = engine(breaks=["NEST-16"], load=_load_sorted)
descends_a_hundred_levels = exchanged(breaks=["NEST-17"], saving=[(plan_save, "flatten", _shallow)])
