"""What a load reads for a target: the planner asked directly, with chunks of many made-up ranks in one process."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)

from dcp_conformance.harness.faults.noting import Notes, noted_reader
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.sharding import blanked, piece_differences, shards_of
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.session import Session, into_subject

Box = tuple[tuple[int, ...], tuple[int, ...]]
# Of one read item: offset in the stored chunk, lengths, offset in the target, and the two chunk offsets.
Read = dict[str, tuple[int, ...]]


class _Held(torch.Tensor):
    """The part of a tensor that a made-up rank holds: planned through the documented hooks for tensor-like classes."""

    @classmethod
    def of(cls, size: Sequence[int], box: Box) -> _Held:
        held = torch.zeros(tuple(size)).as_subclass(cls)
        held.box = box
        return held

    box: Box

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        return [_chunk(self.box)]


def _chunk(box: Box) -> ChunkStorageMetadata:
    return ChunkStorageMetadata(offsets=torch.Size(box[0]), sizes=torch.Size(box[1]))


def reads(session: Session, size: tuple[int, ...], stored: list[Box], held: Box) -> list[Read]:
    """Return the read items that the default planner makes for one held box of a tensor that is stored in boxes."""
    entry = TensorStorageMetadata(
        TensorProperties(dtype=torch.float32), torch.Size(size), [_chunk(box) for box in stored]
    )
    planner = session.tool("DefaultLoadPlanner")()
    planner.set_up_planner({"t": _Held.of(size, held)}, Metadata({"t": entry}), True)
    return [
        {
            "storage_chunk": tuple(item.storage_index.offset), "target_chunk": tuple(item.dest_index.offset),
            "storage_offsets": tuple(item.storage_offsets), "target_offsets": tuple(item.dest_offsets),
            "lengths": tuple(item.lengths),
        }
        for item in planner.create_local_plan().items
    ]  # fmt: skip


def blocks_to_blocks(session: Session, size: tuple[int, ...], stored: int, wanted: int, seed: int) -> list[Any]:
    """Save a tensor in `stored` random blocks, load it in `wanted` others: (differences, elements not read once).

    With as many as one row for each block, and seed 0, the blocks are even slices along the first dimension.
    """
    whole = coded(1, size, version=1)
    ranks = session.world_size
    first, second = (_blocks(size, count, seed + turn) for turn, count in enumerate((stored, wanted)))
    session.save({"t": shards_of(whole, _dealt(first, ranks), session.device)}, session.new_id())
    expected = shards_of(whole, _dealt(second, ranks), session.device)
    target, notes = blanked(shards_of(whole, _dealt(second, ranks), session.device)), Notes()
    reader = {"reader": noted_reader(session.reader(session.new_id()), notes)} if session.drives_storage else {}
    session.load({"t": target}, session.new_id(), **reader)
    return [piece_differences(expected, target, "t"), _miscounted(notes, size, expected)]


def _blocks(size: tuple[int, ...], count: int, seed: int) -> list[Box]:
    """A partition of a tensor into `count` boxes: even slices for seeds 0 and 1, else random cuts."""
    if seed < 2:
        step = size[0] / count
        edges = [round(place * step) for place in range(count + 1)]
        return [
            ((low, *[0] * (len(size) - 1)), (high - low, *size[1:]))
            for low, high in zip(edges, edges[1:], strict=False)
        ]
    chance, boxes = random.Random(seed), [((0,) * len(size), size)]
    while len(boxes) < count:
        offset, sizes = boxes.pop(max(range(len(boxes)), key=lambda place: _volume(boxes[place])))
        dimension = max(range(len(sizes)), key=lambda axis: (sizes[axis] > 1) * chance.random())
        cut = chance.randint(1, sizes[dimension] - 1)
        boxes += [_part(offset, sizes, dimension, 0, cut), _part(offset, sizes, dimension, cut, sizes[dimension] - cut)]
    chance.shuffle(boxes)
    return boxes


def _part(offset: tuple[int, ...], sizes: tuple[int, ...], axis: int, start: int, length: int) -> Box:
    moved = tuple(place + start * (number == axis) for number, place in enumerate(offset))
    return moved, tuple(length if number == axis else size for number, size in enumerate(sizes))


def _volume(box: Box) -> int:
    return int(torch.tensor(box[1]).prod())


def _dealt(boxes: list[Box], ranks: int) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    return [(place % ranks, offset, sizes) for place, (offset, sizes) in enumerate(boxes)]


def _miscounted(notes: Notes, size: tuple[int, ...], target: Any) -> list[str]:
    """Report how often each element of the local targets is read, where it is not once.

    [] where the reader saw no plan.
    """
    if not notes.of("read_data"):
        return []
    counts: Counter[str] = Counter()
    seen = torch.zeros(size, dtype=torch.int64)
    for shard in target.local_shards():
        _box_of(seen, shard.metadata.shard_offsets, shard.metadata.shard_sizes).sub_(1)
    for item in notes.of("read_data")[0].argument(0, "plan").items:
        places = [chunk + inside for chunk, inside in zip(item.dest_index.offset, item.dest_offsets, strict=True)]
        _box_of(seen, places, item.lengths).add_(1)
    wrong = seen.nonzero()
    for place in wrong[:3].tolist():
        counts[f"element {tuple(place)} is read {int(seen[tuple(place)]) + 1} times"] += 1
    return list(counts)


def _box_of(tensor: torch.Tensor, offsets: Sequence[int], sizes: Sequence[int]) -> torch.Tensor:
    for dimension, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
        tensor = tensor.narrow(dimension, offset, size)
    return tensor


def load_without_a_chunk(session: Session) -> tuple[Attempt, bool] | None:
    """Report how a load ended whose metadata lacks one of two chunks, and whether a reader gave such metadata."""
    if not session.drives_storage:
        return None
    whole = coded(1, (8,), version=1)
    session.save({"t": shards_of(whole, [(0, (0,), (3,)), (0, (3,), (5,))], session.device)}, session.new_id())
    notes = Notes(changes={"read_metadata": _without_last_chunk})
    target = {"t": torch.full((8,), -1.0, dtype=torch.float64, device=session.device)}
    call = session.attempt(
        session.load, target, session.new_id(), reader=noted_reader(session.reader(session.new_id()), notes)
    )
    return call, bool(notes.of("read_metadata"))


def _without_last_chunk(metadata: Any) -> Any:
    entry = metadata.state_dict_metadata["t"]
    entry.chunks = list(entry.chunks)[:1]
    return metadata


def load_into_other_shape(
    session: Session, saved: tuple[int, ...], wanted: tuple[int, ...], partial: bool = False
) -> Attempt:
    """Report how a load of a tensor of one shape into a tensor of another ended.

    partial: one that may pass over keys.
    """
    if partial and not session.takes("load", "planner"):
        session.excuse("its load takes no planner")
    sound = coded(2, (4,), version=1).to(session.device)
    session.save({"sound": sound, "shaped": coded(1, saved, version=1).to(session.device)}, session.new_id())
    target = {"sound": sound.clone(), "shaped": torch.full(wanted, -1.0, dtype=torch.float64, device=session.device)}
    planner = {"planner": into_subject(session.tool("DefaultLoadPlanner"), allow_partial_load=True)} if partial else {}
    return session.attempt(session.load, target, session.new_id(), **planner)


def shared_memory(session: Session, order: str) -> list[Difference]:
    """Load a matrix and parts of it into a matrix and views of it, most of which begin where it begins."""
    state = _with_views(coded(1, (4, 4), version=1).to(session.device), order)
    target = _with_views(torch.full((4, 4), -1.0, dtype=torch.float64, device=session.device), order)
    session.save({name: item.clone() for name, item in state.items()}, session.new_id())
    session.load(dict(target), session.new_id())
    return [item for name in state for item in piece_differences(state[name], target[name], name)]


def _with_views(whole: torch.Tensor, order: str) -> dict[str, torch.Tensor]:
    views = {
        "row": whole[0], "column": whole[:, 0], "corner": whole[:2, :2], "diagonal": whole.diagonal(),
        "first": whole[0, 0], "inner": whole[1:3, 1:3], "other": whole[2],
    }  # fmt: skip
    return {"parts_alone": views, "parts_first": {**views, "whole": whole}, "parts_last": {"whole": whole, **views}}[
        order
    ]


def small_tensors(session: Session) -> list[Difference]:
    """Tensors without dimensions or without elements, alone and beside an ordinary one."""
    shapes: list[tuple[int, ...]] = [(), (0,), (3, 0, 2), (1,), (4, 5)]
    state = {f"t{key}": coded(key, shape, version=1).to(session.device) for key, shape in enumerate(shapes)}
    session.save(state, session.new_id())
    target = {key: torch.full_like(item, -1) for key, item in state.items()}
    session.load(target, session.new_id())
    return [item for key in state for item in piece_differences(state[key], target[key], key)]
