"""Ranks that disagree about what they save: the save has to fail on all of them, before any data is written."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness.faults.noting import Notes, noted_writer
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.sharding import Placer, own_groups, shards_of
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.looking import noticed
from dcp_conformance.harness.subject.session import Session

# A sharded tensor that two ranks believe to be cut in different places: (shards as rank 0 sees them, as rank 1 does).
VIEWS: dict[str, tuple[list[tuple[int, tuple[int], tuple[int]]], ...]] = {
    "overlap": ([(0, (0,), (5,)), (1, (5,), (3,))], [(0, (0,), (3,)), (1, (3,), (5,))]),
    "gap": ([(0, (0,), (3,)), (1, (3,), (5,))], [(0, (0,), (5,)), (1, (5,), (3,))]),
    # As much twice as is missing: the sizes add up.
    "overlap and gap": ([(0, (0,), (5,)), (1, (5,), (3,))], [(0, (0,), (3,)), (1, (3,), (3,)), (0, (6,), (2,))]),
    "outside": ([(0, (0,), (4,)), (1, (4,), (4,))], [(0, (0,), (8,)), (1, (8,), (4,))]),
}


def save_disagreeing(session: Session, what: str) -> tuple[Attempt, int, Attempt]:
    """Report how the save ended, how often write_data was called, and how a load of the id ended."""
    if what == "kinds" and "objects" in session.storage.unsupported:
        session.excuse("the backend stores no objects")
    state, notes, checkpoint_id = _state(session, what), Notes(), session.new_id(what)
    writer = {"writer": noted_writer(session.writer(checkpoint_id), notes)} if session.drives_storage else {}
    call = session.attempt(session.save, state, checkpoint_id, **writer)
    load = session.attempt(session.load, {"x": torch.full((8,), -1.0, dtype=torch.float64)}, checkpoint_id)
    return call, len(notes.of("write_data")), load


def _state(session: Session, what: str) -> dict[str, Any]:
    first, sound = session.rank == 0, coded(1, (4,), version=1).to(session.device)
    if what in VIEWS:
        view = VIEWS[what][min(session.rank, 1)]
        whole = coded(0, (sum(size[0] for _rank, _offset, size in view),), version=1).to(session.device)
        return {"x": shards_of(whole, view, session.device), "sound": sound}
    if what == "missing rank":
        view = VIEWS["overlap"][0]
        part = {"x": shards_of(coded(0, (8,), version=1).to(session.device), view, session.device)}
        return {"sound": sound, **(part if first else {})}
    whole = coded(0, (8,), version=1).to(session.device)
    other = {"kinds": "an object", "shapes": whole[:3].clone(), "dtypes": whole.to(torch.int64)}[what]
    return {"x": whole if first else other, "sound": sound}


def save_half_alone(session: Session) -> tuple[Attempt, list[str]]:
    """Report how a save of half of a distributed tensor ended that each rank made by itself, to an id of its own.

    With the warnings that a save of a whole one does not give.
    """
    with own_groups():
        half = Placer(session.device).distributed(coded(0, (8,), version=1), (0, 1), ["S0"])
        with noticed() as usual:
            session.save({"x": coded(0, (8,), version=1)}, session.new_id(f"whole{session.rank}"), no_dist=True)
        with noticed() as said:
            save = session.attempt(session.save, {"x": half}, session.new_id(f"half{session.rank}"), no_dist=True)
        return save, [text for text in said if text not in usual]
