"""Damage that one rank meets, in the object that only it reads; and objects of two ranks that change places."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness.faults import corruption
from dcp_conformance.harness.faults.corruption import Damage
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.damaged import Damaged
from dcp_conformance.harness.subject.session import Session, into_subject


def save_by_rank(session: Session) -> None:
    """Each rank saves a tensor of its own, of the same size."""
    session.save(_own(session.rank), session.new_id("by-rank"))


def object_read_by(session: Session, ranks: int, wanted: int) -> dict[str, Any]:
    """Return the name of an object that rank `wanted` needs for its tensor; where there is one, of no other rank."""
    session.needs("stored_bytes")
    checkpoint_id = session.new_id("by-rank")
    blobs = session.stored_bytes(checkpoint_id)
    stored = into_subject(corruption.contents, blobs)
    alone, shared = "", ""
    for name in sorted(stored):
        with corruption.inflicted(blobs, {name: stored[name][: len(stored[name]) // 2]}, stored):
            ok = [session.attempt(session.load, blank(_own(rank)), checkpoint_id).ok for rank in range(ranks)]
        if not ok[wanted]:
            shared = shared or name
            alone = alone or (name if all(ok[:wanted] + ok[wanted + 1 :]) else "")
    return {"name": alone or shared, "alone": bool(alone)}


def cut_object(session: Session, name: str) -> None:
    """Cut a stored object in half, and leave it so."""
    blobs = session.stored_bytes(session.new_id("by-rank"))
    data = into_subject(blobs.read, name)
    into_subject(blobs.write, name, data[: len(data) // 2])


def load_by_rank(session: Session) -> Attempt:
    """Each rank loads its own tensor, all in one call."""
    return session.attempt(session.load, blank(_own(session.rank)), session.new_id("by-rank"))


def exchange_between_ranks(session: Session, ranks: int) -> dict[str, Any]:
    """Load everything after each exchange of two stored objects of equal size; one dict a load."""
    session.needs("multi_process")
    checkpoint_id = session.new_id("by-rank")
    blobs = session.stored_bytes(checkpoint_id)
    stored = into_subject(corruption.contents, blobs)
    state = {key: item for rank in range(ranks) for key, item in _own(rank).items()}
    damaged = Damaged(session, state, checkpoint_id, blobs, stored)
    swaps: list[Damage] = corruption.swaps(stored)
    return {"rows": [damaged.outcome(damage, corruption.changes(damage, stored)) for damage in swaps]}


def _own(rank: int) -> dict[str, Any]:
    return {f"own{rank}": coded(10 + rank, (40,), version=1)}
