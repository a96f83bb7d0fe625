"""Nested states: under which keys they are stored, and what comes back."""

from __future__ import annotations

import collections
import contextlib
import gc
import random
import time
import types
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.distributed._shard.sharded_tensor import Shard as LocalShard
from torch.distributed._shard.sharded_tensor import ShardedTensor, init_from_local_shards
from torch.distributed._shard.sharded_tensor.metadata import ShardedTensorMetadata, TensorProperties
from torch.distributed._shard.sharding_spec import ShardMetadata

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject

DEEP = 200
STRUCTURES = 20
WHOLE = (8, 6)


def stored_keys(session: Session, shape: str) -> tuple[list[str], dict[str, list[str | int] | None]]:
    """Return the keys of the metadata that saving a state of this shape gave, and the path that it keeps for each."""
    if shape in ("plain_list", "tuple"):  # a tuple is one value, an object
        session.needs("objects")
    metadata = session.save_and_describe(_shape(session, shape), session.new_id())
    keys = sorted(metadata.state_dict_metadata)
    paths = metadata.planner_data if isinstance(metadata.planner_data, Mapping) else {}
    return keys, {key: list(paths[key]) if key in paths else None for key in keys}


def _shape(session: Session, shape: str) -> dict[str, Any]:
    tensor = coded(1, (4,), version=1)
    number = 99 if "objects" not in session.storage.unsupported else tensor
    shapes: dict[str, dict[str, Any]] = {
        "mappings": {"a": {"b": tensor, "c": {"d": tensor}}, "e": tensor},
        "lists": {"k2": [tensor, number, [{"k": tensor}]], "k3": [[tensor]]},
        "plain_list": {"k1": [1, 2], "k4": [[1], ["two"]]},
        "tuple": {"pair": (tensor, {"inner": tensor})},
    }
    return shapes[shape]


def structures_come_back(session: Session) -> list[Difference]:
    """Save and load random nested states, small ones first; the differences of the first that does not come back."""
    chance, plain = random.Random(20260), "objects" in session.storage.unsupported
    for number in range(STRUCTURES):
        state = {f"top{place}": _structure(chance, 1 + number // 5, plain=plain) for place in range(1 + number // 4)}
        target = blank(state)
        session.save(state, session.new_id(f"structure{number}"))
        session.load(target, session.new_id(f"structure{number}"))
        if found := differences(state, target):
            return found
    return []


def _structure(chance: random.Random, depth: int, *, plain: bool) -> Any:
    kind = chance.choice(("tensor", "object", "dict", "list")) if depth else chance.choice(("tensor", "object"))
    if kind == "dict":
        names = chance.sample(("0", "a", "weight", "x.y", "ü", "a b", "1"), chance.randint(1, 3))
        return {name: _structure(chance, depth - 1, plain=plain) for name in names}
    if kind == "list":
        # A list that holds no tensor would be one object, so every list gets one.
        items = [_structure(chance, depth - 1, plain=plain) for _ in range(chance.randint(1, 3))]
        return [*items, coded(chance.randrange(99), (2,), version=1)] if plain or chance.random() < 0.7 else items
    if kind == "object" and not plain:
        return chance.choice((1, "text", None, 2.5, (1, 2), [1, 2], []))
    return coded(chance.randrange(99), chance.choice(((), (3,), (2, 2))), version=1)


def same_flat_key(session: Session, case: str) -> Attempt:
    """Report how a save ends of two values that have the same flat key."""
    one, other = coded(1, (4,), version=1), coded(2, (4,), version=1)
    states: dict[str, dict[str, Any]] = {
        "dotted": {"outer": {"inner": one}, "outer.inner": other},
        "integer": {"outer": {1: one, "1": other}},
        "negative": {"outer": {"-1": one, -1: other}},
        "list_first": {"outer": [other, one], "outer.1": one},
        "list_last": {"outer.1": one, "outer": [other, one]},
        "list_below": {"outer": [other, {"inner": one}], "outer.1": {"inner": other}},
        "crossed": {"outer": {"inner.leaf": one}, "outer.inner": {"leaf": other}},
    }
    session.save({"outer": one}, session.new_id("sound"))
    return session.attempt(session.save, states[case], session.new_id())


def mixed_containers(session: Session) -> list[Difference]:
    """Lists that mix tensors, numbers, dicts and lists, at top level and nested."""
    number: Any = 5 if "objects" not in session.storage.unsupported else coded(7, (1,), version=1)
    mixed: list[Any] = [
        coded(1, (4,), version=1),
        number,
        {"k": number, "t": coded(2, (2,), version=1)},
        [coded(3, (2,), version=1), number],
    ]
    return _round_trip(session, {"list": mixed, "nested": {"list": list(mixed)}})


def whole_values(session: Session) -> tuple[list[Difference], list[str], list[str]]:
    """Save and load with planners that do not flatten: what differs, the stored keys, the old containers."""
    session.needs("objects")
    save, load = (
        into_subject(session.tool(f"Default{kind}Planner"), flatten_state_dict=False) for kind in ("Save", "Load")
    )
    state: dict[str, Any] = {
        "number": 5,
        "dict": {"a": 1, "t": coded(1, (4,), version=1)},
        "list": [coded(2, (3,), version=1), 7],
        "t": coded(3, (2,), version=1),
    }
    checkpoint_id, target = session.new_id(), blank(state)
    held = {name: target[name] for name in ("dict", "list")}
    metadata = session.save_and_describe(state, checkpoint_id, planner=save)
    session.load(target, checkpoint_id, planner=load)
    kept = [name for name, item in held.items() if target[name] is item]
    return differences(state, target), sorted(metadata.state_dict_metadata), kept


def foreign_mapping(session: Session, kind: str, leaf: str) -> tuple[Attempt, Attempt, list[Difference]]:
    """Save a mapping that is no dict, load into a template made alike."""
    if leaf == "number":
        session.needs("objects")
    checkpoint_id, state, target = session.new_id(), _foreign(kind, leaf, version=1), _foreign(kind, leaf, version=2)
    saved = session.attempt(session.save, {"outer": state}, checkpoint_id)
    if not saved.ok:
        return saved, saved, []
    whole = {"outer": target}
    loaded = session.attempt(session.load, whole, checkpoint_id)
    return saved, loaded, differences({"outer": state}, whole)


def _foreign(kind: str, leaf: str, *, version: int) -> Any:
    inner = {"leaf": coded(1, (4,), version=version) if leaf == "tensor" else version}
    made: dict[str, Any] = {
        "UserDict": collections.UserDict(inner), "ChainMap": collections.ChainMap(inner, {}),
        "mappingproxy": types.MappingProxyType(inner),
    }  # fmt: skip
    return made[kind]


def deep_nesting(session: Session) -> list[Difference]:
    """Return a tensor and a number, two hundred dicts deep."""
    wanted: dict[str, Any] = {"tensor": coded(1, (4,), version=1)}
    if "objects" not in session.storage.unsupported:
        wanted["number"] = 5
    state, target = wanted, blank(wanted)
    for _ in range(DEEP):
        state, target = {"d": state}, {"d": target}
    checkpoint_id = session.new_id()
    session.save(state, checkpoint_id)
    session.load(target, checkpoint_id)
    for _ in range(DEEP):
        target = target["d"]
    return differences(wanted, target)


def tensor_after_save(session: Session) -> bool:
    """Tell whether a tensor of a nested state is gone after its save, without the garbage collector."""
    state = {"outer": {"inner": [coded(1, (4,), version=1)]}}
    reference = weakref.ref(state["outer"]["inner"][0])
    gc.collect()
    gc.disable()
    try:
        session.save(state, session.new_id())
        del state
        deadline = time.monotonic() + 2.0  # threads of a storage may let go of it a little later
        while reference() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        return reference() is None
    finally:
        gc.enable()


def sharded_twice(session: Session, outer: int, inner: int) -> tuple[list[Difference], list[list[list[int]]]]:
    """Save and load a ShardedTensor of `outer` shards by rows, each a ShardedTensor of `inner` shards by columns.

    What differs in a plain tensor and in a target of the same layout; the (offsets, sizes) of the stored chunks.
    """
    checkpoint_id, whole = session.new_id(), coded(1, WHOLE, version=1)
    with _groups(outer, inner) as groups:
        metadata = session.save_and_describe(
            {"twice": _nested_shards(session.rank, whole, outer, inner, groups)}, checkpoint_id
        )
        stored = metadata.state_dict_metadata["twice"]
        chunks = sorted([list(chunk.offsets), list(chunk.sizes)] for chunk in stored.chunks)
        plain = {"twice": torch.full_like(whole, -1)}
        session.load(plain, checkpoint_id)
        alike = {"twice": _nested_shards(session.rank, torch.full_like(whole, -1), outer, inner, groups)}
        session.load(alike, checkpoint_id)
        own = _own_part(whole, session.rank, outer, inner)[0]
        return differences({"twice": whole}, plain) + differences(
            own, _innermost(alike["twice"]), key="own shard"
        ), chunks


def _own_part(whole: torch.Tensor, rank: int, outer: int, inner: int) -> tuple[torch.Tensor, int, int]:
    row, column = rank % outer, rank // outer
    return whole.chunk(outer)[row].chunk(inner, dim=1)[column].clone(), row, column


@contextlib.contextmanager
def _groups(outer: int, inner: int) -> Iterator[dict[tuple[int, ...], Any]]:
    """Make process groups of the ranks with the columns of one row, and of those with the rows of one column."""
    rows = [tuple(row + outer * place for place in range(inner)) for row in range(outer)]
    columns = [tuple(place + outer * column for place in range(outer)) for column in range(inner)]
    groups = {members: torch.distributed.new_group(list(members)) for members in dict.fromkeys(rows + columns)}
    try:
        yield groups
    finally:
        for members, group in groups.items():
            if torch.distributed.get_rank() in members:
                torch.distributed.destroy_process_group(group)


def _nested_shards(
    rank: int, whole: torch.Tensor, outer: int, inner: int, groups: dict[tuple[int, ...], Any]
) -> ShardedTensor:
    part, row, column = _own_part(whole, rank, outer, inner)
    rows, columns = part.shape
    in_row = tuple(row + outer * place for place in range(inner))
    in_column = tuple(place + outer * column for place in range(outer))
    shard = LocalShard.from_tensor_and_offsets(part, [0, column * columns], rank)
    within = init_from_local_shards([shard], [rows, columns * inner], process_group=groups[in_row])
    placed = [
        ShardMetadata([place * rows, 0], [rows, columns * inner], placement=f"rank:{member}/cpu")
        for place, member in enumerate(in_column)
    ]
    return ShardedTensor._init_from_local_shards_and_global_metadata(
        [LocalShard(within, placed[row])],
        ShardedTensorMetadata(placed, whole.size(), TensorProperties(dtype=whole.dtype)),
        process_group=groups[in_column],
    )


def _innermost(tensor: Any) -> torch.Tensor:
    while isinstance(tensor, ShardedTensor):
        tensor = tensor.local_shards()[0].tensor
    assert isinstance(tensor, torch.Tensor)
    return tensor


def _round_trip(session: Session, state: dict[str, Any]) -> list[Difference]:
    checkpoint_id, target = session.new_id(), blank(state)
    session.save(state, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(state, target)
