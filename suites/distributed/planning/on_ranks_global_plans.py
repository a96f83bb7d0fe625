"""What reaches the storage after global planning: which rank writes what, with which hints, and what comes back."""

from __future__ import annotations

import time
from typing import Any

import torch

from dcp_conformance.harness.faults.noting import Notes, noted_writer
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.sharding import Placer, blanked, own_groups, piece_differences
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.session import Session

Written = list[tuple[int, str, tuple[int, ...] | None]]

EQUAL = 8
PIECES = 40


def shared_and_own(session: Session) -> tuple[Written | None, list[Difference]]:
    """Save replicated, sharded and own values; (write results, as the coordinator saw them; differences after a load).

    Write results are (rank, name, offset); None on other ranks and where the engine drives no foreign storage.
    """
    with own_groups():
        placer = Placer(session.device)
        state, notes = _shared_state(session, placer), Notes()
        save_noted(session, state, "shared", notes)
        target = {
            key: blanked(item) if isinstance(item, torch.Tensor) else None
            for key, item in _shared_state(session, placer).items()
        }
        session.load(target, session.new_id("shared"))
        found = [item for key in state for item in _compared(state[key], target[key], key)]
    return written(notes), found


def names_like_offsets(session: Session) -> list[Difference]:
    """Save tensors whose names go on, after the name of another, as an offset in that one would; what comes back."""
    with own_groups():
        placer = Placer(session.device)
        session.save(_names_like_offsets(session, placer), session.new_id("near"))
        target = {key: blanked(item) for key, item in _names_like_offsets(session, placer).items()}
        session.load(target, session.new_id("near"))
        state = _names_like_offsets(session, placer)
        return [item for key in state for item in piece_differences(state[key], target[key], key)]


def _names_like_offsets(session: Session, placer: Placer) -> dict[str, Any]:
    ranks, ends = tuple(range(session.world_size)), ("0", ".0", ".0.0", "_0", "_0_0", ":0", "(0, 0)", "@0")
    shapes = {"near": (2, 8), **{f"near{end}": (16,) for end in ends}, "near.": (4, 4), "near ": ()}
    state = {name: coded(key, shape, version=1).to(session.device) for key, (name, shape) in enumerate(shapes.items())}
    # Of the sharded one each rank holds a row; beside it each has a tensor that is named after its row.
    state["sharded"] = placer.distributed(coded(40, (session.world_size, 2), version=1), ranks, ["S0"])
    own = coded(50 + session.rank, (2,), version=1).to(session.device)
    return {**state, f"sharded.{session.rank}": own, f"sharded_{session.rank}": own.clone()}


def _shared_state(session: Session, placer: Placer) -> dict[str, Any]:
    ranks = tuple(range(session.world_size))
    state: dict[str, Any] = {f"plain{key}": coded(key, (16,), version=1).to(session.device) for key in range(3)}
    state["replicated"] = placer.distributed(coded(3, (4, 4), version=1), ranks, ["R"])
    state["sharded"] = placer.distributed(coded(4, (9, 2), version=1), ranks, ["S0"])
    state[f"own{session.rank}"] = coded(10 + session.rank, (8,), version=1).to(session.device)
    # The lowest and the highest rank share a key that the ranks between them do not have.
    if session.rank in (0, session.world_size - 1):
        state["held-by-two"] = coded(5, (8,), version=1).to(session.device)
    if "objects" not in session.storage.unsupported:
        state |= {"object": {"step": 3}["step"], f"object{session.rank}": f"of rank {session.rank}"}
    return state


def _compared(expected: Any, observed: Any, key: str) -> list[Difference]:
    if isinstance(expected, torch.Tensor) and isinstance(observed, torch.Tensor):
        return piece_differences(expected, observed, key)
    return differences(expected, observed, key=key)


def save_noted(session: Session, state: dict[str, Any], name: str, notes: Notes, **arguments: Any) -> Any:
    """Save through a writer whose calls are noted, where the engine takes one."""
    checkpoint_id = session.new_id(name)
    if session.drives_storage:
        arguments["writer"] = noted_writer(session.writer(checkpoint_id), notes)
    return session.save(state, checkpoint_id, **arguments)


def written(notes: Notes) -> Written | None:
    """Return the write results of all ranks that `finish` was given; None where it was not called."""
    finished = notes.of("finish")
    if not finished:
        return None
    results = finished[-1].argument(1, "results")
    return [
        (rank, result.index.fqn, None if result.index.offset is None else tuple(result.index.offset))
        for rank, own in enumerate(results)
        for result in own
    ]


def equal_replicas(session: Session, lowest: bool = False) -> Written | None:
    """Return the write results for EQUAL replicated tensors of one size; `lowest` asks for the lowest rank."""
    state = {f"t{key}": coded(key, (128,), version=1).to(session.device) for key in range(EQUAL)}
    planner = {"planner": session.tool("DefaultSavePlanner")(dedup_save_to_lowest_rank=True)} if lowest else {}
    notes = Notes()
    save_noted(session, state, "equal", notes, **planner)
    return written(notes)


def owners_in_three_runs(session: Session) -> list[Written | None]:
    """Return the write results of three saves of one state, to which the ranks come in different orders."""
    found: list[Written | None] = []
    for turn in range(3):
        notes = Notes()
        state = {f"t{key}": coded(key, (8 + 16 * key,), version=1).to(session.device) for key in range(6)}
        time.sleep(0.01 * ((session.rank + turn) % session.world_size))
        save_noted(session, state, f"turn{turn}", notes)
        found.append(written(notes))
    return found


def sharded_among_replicas(session: Session) -> Written | None:
    """Write results on a 2 by 2 mesh: a tensor in two halves, each held twice, among small tensors held by all."""
    with own_groups():
        placer, notes = Placer(session.device), Notes()
        state: dict[str, Any] = {
            "a": placer.distributed(coded(0, (2000,), version=1), ((0, 1), (2, 3)), ["R", "S0"]),
            **{f"piece{key}": coded(key, (100,), version=1).to(session.device) for key in range(PIECES)},
        }
        save_noted(session, state, "weights", notes)
        del state, placer
    return written(notes)


def hints(session: Session) -> list[tuple[str, int, str, str]]:
    """Hints that do not point at the item's own chunk: (name, hint, chunk of the item, chunk at the hint)."""
    with own_groups():
        placer, notes = Placer(session.device), Notes()
        metadata = save_noted(session, _shared_state(session, placer), "hints", notes)
        del placer
    if session.rank:
        return []  # only the coordinator sees the plans of all
    if not notes.of("prepare_global_plan"):
        session.excuse("the engine drives no foreign storage, so its plans are its own business")
    wrong = []
    for plan in notes.of("prepare_global_plan")[0].argument(0, "plans"):
        for item in plan.items:
            if item.tensor_data is None or item.index.index is None:
                continue
            chunks = metadata.state_dict_metadata[item.index.fqn].chunks
            own, hint = _box(item.tensor_data.chunk), item.index.index
            there = _box(chunks[hint]) if 0 <= hint < len(chunks) else f"outside the {len(chunks)} chunks"
            if there != own:
                wrong.append((item.index.fqn, hint, own, there))
    return wrong


def _box(chunk: Any) -> str:
    return f"{tuple(chunk.sizes)} at {tuple(chunk.offsets)}"


def plans_by_rank(session: Session, collectives: bool) -> list[tuple[list[list[str]], list[list[str]]]]:
    """For each call of prepare_global_plan on this rank: the names in each plan given, and in each plan returned.

    Rank r holds r + 1 values of its own.
    """
    state = {f"own{session.rank}-{n}": coded(n, (4,), version=1).to(session.device) for n in range(session.rank + 1)}
    alone = session.takes("save", "use_collectives") and "rank_local_metadata" not in session.storage.unsupported
    if not session.drives_storage:
        session.excuse("the engine drives no foreign storage, so nobody else sees its plans")
    if not (collectives or alone):
        session.excuse("ranks cannot save alone here")
    notes = Notes()
    save_noted(
        session, dict(state), f"plans-{collectives}", notes, **({} if collectives else {"use_collectives": False})
    )
    calls = notes.of("prepare_global_plan")
    return [(_names(call.argument(0, "plans")), _names(call.result)) for call in calls]


def _names(plans: Any) -> list[list[str]]:
    return [sorted({item.index.fqn for item in plan.items}) for plan in plans]


def nested_paths(session: Session) -> list[tuple[str, tuple[Any, ...] | None]]:
    """For each stored key the path that the returned metadata has for it; None where it has none."""
    own = {f"layer{session.rank}": {"weight": coded(session.rank, (4,), version=1).to(session.device)}}
    state = {
        "model": own,
        "list": [coded(8, (2,), version=1).to(session.device)],
        "top": coded(9, (2,), version=1).to(session.device),
    }
    metadata = session.save_and_describe(state, session.new_id("nested"))
    paths = metadata.planner_data or {}
    return [(key, tuple(paths[key]) if key in paths else None) for key in metadata.state_dict_metadata]
