"""What a rank plans to save, and that a plan may be rewritten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dcp_conformance.harness.laws.shared_failures import must_blame_exactly
from dcp_conformance.harness.laws.verbs import must, must_match, must_refuse
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.planning import on_ranks_plans as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.planning.on_ranks_plans")

ROWS = 8


@pytest.mark.clauses("PLAN-01")
def test_plain_tensor_is_one_item_of_its_whole_size(subject: Subject) -> None:
    wanted = {
        "type": "TENSOR",
        "key": "x",
        "offset": (0,),
        "data": True,
        "chunk": ((0,), (10,)),
        "size": (10,),
        "dtype": "torch.float32",
    }
    planned(subject.observe(1, on_ranks.planned, "tensor"), [[wanted]])


@pytest.mark.clauses("PLAN-02")
@pytest.mark.worlds(2, 4)
def test_local_shard_of_a_sharded_tensor_is_one_item(subject: Subject, world: int) -> None:
    planned(subject.observe(world, on_ranks.planned, "sharded"), [[shard(rank, world)] for rank in range(world)])


@pytest.mark.clauses("PLAN-03")
@pytest.mark.worlds(3)
def test_dtensor_is_planned_by_the_ranks_of_its_mesh(subject: Subject, world: int) -> None:
    planned(subject.observe(world, on_ranks.planned, "dtensor"), [[shard(0, 2)], [shard(1, 2)], []])


@pytest.mark.clauses("PLAN-04")
def test_object_is_one_item_of_bytes(subject: Subject) -> None:
    wanted = {"type": "BYTE_IO", "key": "x", "offset": None, "data": False}
    planned(subject.observe(1, on_ranks.planned, "object"), [[wanted]])


@pytest.mark.clauses("PLAN-06")
@pytest.mark.worlds(2, 4)
def test_value_of_one_rank_only_is_saved(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.own_key_of_each_rank))


@pytest.mark.clauses("PLAN-06")
def test_hundreds_of_values_of_each_rank_are_saved(subject: Subject) -> None:
    must_match(subject.observe(2, on_ranks.hundreds_of_each_rank, 300))


@pytest.mark.clauses("PLAN-07")
def test_checkpointable_hooks_plan_find_and_fill(subject: Subject) -> None:
    found = subject.alone(on_ranks.hooks)
    offsets = [item["offset"] for item in found["items"]]
    must(offsets == [(0,), (3,)], otherwise=f"a value whose hook plans two halves has items at {offsets}", kind="plan")
    must(
        found["used"].count("find") == 2,
        otherwise="the shards of the value were not asked for through its hook",
        kind="lookup",
    )
    must_match([found["resolved"]], "what the hook gave for the two items")
    must_match([found["loaded"]], "what a load put into the shards that the hook gave")


@pytest.mark.clauses("PLAN-08")
def test_planning_copies_and_pickles_nothing(subject: Subject) -> None:
    found = subject.alone(on_ranks.cost_of_planning)
    must(
        found["pickled"] == 0,
        otherwise=f"an object had been pickled {found['pickled']} times when writing began",
        kind="pickled",
    )
    must(found["mib"] < 8, otherwise=f"planning a state of 64 MiB took {found['mib']:.0f} MiB of memory", kind="copied")


@pytest.mark.clauses("PLAN-09")
@pytest.mark.parametrize("how", ("prefix", "half"))
def test_state_rewritten_by_a_planner_is_what_is_saved(subject: Subject, how: str) -> None:
    observed = subject.observe(1, on_ranks.rewritten, how)
    must_match(observed)


@pytest.mark.clauses("PLAN-10")
@pytest.mark.worlds(2)
def test_partial_sums_are_refused_by_every_rank(subject: Subject, world: int) -> None:
    attempts = subject.observe(world, on_ranks.partial_sums)
    for rank, attempt in enumerate(attempts):
        must_refuse(attempt, "a save of a DTensor with partial sums", rank=rank)
    must_blame_exactly(attempts, range(world))
    load = subject.alone(on_ranks.load_partial_sums)
    must_refuse(load, "a load of the id whose save was refused", rank=0)


@pytest.mark.clauses("PLAN-11")
def test_prepared_plan_still_stores_every_element_once(subject: Subject) -> None:
    found = subject.alone(on_ranks.prepared_plan, group=True)
    before, after = elements(found["before"]), elements(found["after"])
    for key, count in before.items():
        must(
            after.get(key) == count,
            otherwise=f"{key!r} has {after.get(key)} elements to store after prepare_local_plan, {count} before",
            kind="plan",
        )
    for key in after:
        must(key in before, otherwise=f"prepare_local_plan added {key!r}", kind="plan")
    must_match([found["differences"]])


@pytest.mark.clauses("PLAN-12")
def test_empty_tensors_and_scalars_are_planned_like_others(subject: Subject) -> None:
    found = subject.alone(on_ranks.unusual_shapes)
    for number, shape in found["shapes"].items():
        chunks = found["entries"].get(f"s{number}", {}).get("chunks")
        wanted = [((0,) * len(shape), tuple(shape))]
        must(
            chunks == wanted,
            otherwise=f"a tensor of shape {tuple(shape)} has the chunks {chunks} instead of {wanted}",
            kind="plan",
        )
    must_match([found["differences"]])


@pytest.mark.clauses("PLAN-13")
@pytest.mark.worlds(3)
def test_empty_shards_harm_neither_save_nor_load(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.empty_shards)
    must_match([found["differences"] for found in observed])
    must_match(subject.observe(1, on_ranks.load_empty_shards), "the whole loaded by one process")
    for rank, found in enumerate(observed):
        chunks = {item["key"]: item["chunk"] for item in found["items"]}
        for key, shape in found["local"].items():
            start = sum(other["local"][key][0] for other in observed[:rank])
            wanted = ((start, 0), shape)
            must(
                chunks.get(key) == wanted,
                otherwise=f"it plans {chunks.get(key)} for {key!r} instead of {wanted}",
                kind="plan",
                rank=rank,
            )


def planned(observed: list[list[dict[str, Any]]], wanted: list[list[dict[str, Any]]]) -> None:
    """Broken unless each rank planned exactly these items."""
    for rank, (found, expected) in enumerate(zip(observed, wanted, strict=True)):
        must(found == expected, otherwise=f"it plans {found} instead of {expected}", kind="plan", rank=rank)


def shard(place: int, pieces: int) -> dict[str, Any]:
    """The item of one piece of a tensor that is sharded along its rows."""
    chunk = ((ROWS * place, 0), (ROWS, 4))
    return {
        "type": "SHARD",
        "key": "x",
        "offset": chunk[0],
        "data": True,
        "chunk": chunk,
        "size": (ROWS * pieces, 4),
        "dtype": "torch.float32",
    }


def elements(items: list[dict[str, Any]]) -> dict[str, Any]:
    """For each key the set of element positions that its items hold; overlapping boxes count as "overlapping"."""
    found: dict[str, Any] = {}
    for item in items:
        boxes = found.setdefault(item["key"], [])
        boxes.append(item.get("chunk"))
    return {key: _volume(boxes) for key, boxes in found.items()}


def _volume(boxes: list[Any]) -> Any:
    if None in boxes:
        return f"{len(boxes)} objects"
    cells = [cell for offsets, sizes in boxes for cell in _cells(offsets, sizes)]
    return "overlapping" if len(cells) != len(set(cells)) else len(cells)


def _cells(offsets: tuple[int, ...], sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
    cells: list[tuple[int, ...]] = [()]
    for offset, size in zip(offsets, sizes, strict=True):
        cells = [(*cell, offset + place) for cell in cells for place in range(size)]
    return cells
