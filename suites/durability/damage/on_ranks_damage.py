"""Damage done to the stored bytes of a small checkpoint, one load after each: what does it give?

Every damaged load is announced before it starts, so that one which kills or stalls the process is known by name, and a
run ends itself after a while, so that its time limit measures loads and not their number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from dcp_conformance.harness.faults import corruption
from dcp_conformance.harness.faults.corruption import Damage
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.subject.damaged import Damaged, small_state
from dcp_conformance.harness.subject.session import Session, into_subject

MOST_FLIPS = 400


def census(session: Session, kinds: tuple[str, ...], start: int, seconds: float) -> dict[str, Any]:
    """Loads after each damage of these kinds, from the `start`-th on, for so many seconds.

    kinds: those of harness.faults.corruption; "metadata": one bit of every 7th byte of the objects which read_metadata
    needs; "stale": an object of another save; "older": an object, metadata too, of the save that this one overwrote;
    "tensors", "objects": no damage, but a state of these alone.
    Returns {"rows", "next", "total", "sound"}.
    """
    state, checkpoint_id = small_state(session, version=1), session.new_id(f"sound{start}")
    if "tensors" in kinds:
        state = {key: item for key, item in state.items() if isinstance(item, torch.Tensor)}
    elif "objects" in kinds:
        session.needs("objects")
        state = {key: item for key, item in state.items() if not isinstance(item, torch.Tensor)}
    before: Mapping[str, bytes] = {}
    if "older" in kinds:
        session.needs("overwrite")
        before = _saved(session, small_state(session, version=2), checkpoint_id)
    session.save(state, checkpoint_id)
    blobs = session.stored_bytes(checkpoint_id)
    stored = into_subject(corruption.contents, blobs)
    subject = Damaged(session, state, checkpoint_id, blobs, stored)
    other = session.new_id(f"other{start}")
    donor = before or (_saved(session, small_state(session, version=2), other) if "stale" in kinds else {})
    damages = _damages(subject, kinds, donor)
    rows = list(_rows(subject, damages[start:], donor, start, time.monotonic() + seconds))
    sound = [item.sentence() for item in subject.differences()]
    return {"rows": rows, "next": start + len(rows), "total": len(damages), "sound": sound}


def _rows(
    subject: Damaged, damages: list[Damage], donor: Mapping[str, bytes], start: int, until: float
) -> Iterator[dict[str, Any]]:
    for number, damage in enumerate(damages, start):
        announce("damage", number=number, what=damage.sentence())
        row = subject.outcome(damage, corruption.changes(damage, subject.stored, donor))
        announce("loaded", row=row)  # what is known must outlive the next load
        yield row
        if time.monotonic() > until:
            return


def _damages(subject: Damaged, kinds: tuple[str, ...], donor: Mapping[str, bytes]) -> list[Damage]:
    damages = corruption.planned([kind for kind in kinds if kind in corruption.KINDS], subject.stored, subject.known)
    names = subject.metadata_names  # looked up while everything is sound
    if "metadata" in kinds:
        for name in names:
            damages += corruption.flips_every(7, name, subject.stored[name], most=MOST_FLIPS // len(names))
    if "stale" in kinds:
        damages += corruption.substitutions(subject.stored, donor, set(subject.stored) - set(names))
        damages += corruption.substitutions(subject.stored, donor, names, any_size=True)
    if "older" in kinds:
        same = [name for name in subject.stored if name in donor]
        damages += corruption.substitutions(subject.stored, donor, same, any_size=True)
    return damages


def _saved(session: Session, state: Any, checkpoint_id: Any) -> Mapping[str, bytes]:
    """Save another state of the same keys and sizes with other values; its stored objects."""
    session.save(state, checkpoint_id)
    contents: Mapping[str, bytes] = into_subject(corruption.contents, session.stored_bytes(checkpoint_id))
    return contents
