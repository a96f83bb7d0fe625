"""Damage that one rank meets, in the object that only it reads; and objects of two ranks that change places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dcp_conformance.harness.faults import corruption
from dcp_conformance.harness.faults.corruption import Damage
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.damaged import Damaged
from dcp_conformance.harness.subject.session import Session, into_subject

# What is left of an object of so many bytes; None: nothing, not even its name.
WAYS: dict[str, Callable[[int], int | None]] = {
    "cut in half": lambda length: length // 2,
    "emptied": lambda length: 0,
    "deleted": lambda length: None,
}


def save_by_rank(session: Session, content: str) -> None:
    """Each rank saves a value of its own, of the same size; content: "tensor" or "object"."""
    if content == "object":
        session.needs("objects")
    session.save(_own(session.rank, content), session.new_id("by-rank"))


def object_read_by(session: Session, ranks: int, wanted: int, content: str) -> dict[str, Any]:
    """Return the name of an object that rank `wanted` needs for its value; where there is one, of no other rank."""
    session.needs("stored_bytes")
    checkpoint_id = session.new_id("by-rank")
    blobs = session.stored_bytes(checkpoint_id)
    stored = into_subject(corruption.contents, blobs)
    alone, shared = "", ""
    for name in sorted(stored):
        with corruption.inflicted(blobs, {name: stored[name][: len(stored[name]) // 2]}, stored):
            ok = [session.attempt(session.load, blank(_own(rank, content)), checkpoint_id).ok for rank in range(ranks)]
        if not ok[wanted]:
            shared = shared or name
            alone = alone or (name if all(ok[:wanted] + ok[wanted + 1 :]) else "")
    return {"name": alone or shared, "alone": bool(alone)}


def damage_object(session: Session, name: str, way: str) -> None:
    """Damage a stored object, and leave it so."""
    blobs = session.stored_bytes(session.new_id("by-rank"))
    data = into_subject(blobs.read, name)
    left = WAYS[way](len(data))
    into_subject(blobs.delete, name) if left is None else into_subject(blobs.write, name, data[:left])


def load_by_rank(session: Session, content: str) -> Attempt:
    """Each rank loads its own value, all in one call."""
    return session.attempt(session.load, blank(_own(session.rank, content)), session.new_id("by-rank"))


def exchange_between_ranks(session: Session, ranks: int) -> dict[str, Any]:
    """Load everything after each exchange of two stored objects of equal size; one dict a load."""
    session.needs("multi_process")
    checkpoint_id = session.new_id("by-rank")
    blobs = session.stored_bytes(checkpoint_id)
    stored = into_subject(corruption.contents, blobs)
    state = {key: item for rank in range(ranks) for key, item in _own(rank, "tensor").items()}
    damaged = Damaged(session, state, checkpoint_id, blobs, stored)
    swaps: list[Damage] = corruption.swaps(stored)
    return {"rows": [damaged.outcome(damage, corruption.changes(damage, stored)) for damage in swaps]}


def _own(rank: int, content: str) -> dict[str, Any]:
    return {f"own{rank}": coded(10 + rank, (40,), version=1) if content == "tensor" else f"the text of rank {rank}"}
