"""Saves through the harness's network proxy, and what a direct look at the store finds afterwards."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from typing import Any

from dcp_conformance.harness.backend.object_store import ADDRESS, uploads_left
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.durability.network.sightings import Left, Loaded

OLD, NEW = 1, 2


def store_address(session: Session) -> str:
    """Report where the store listens, as host:port."""
    if session.storage.start is None:
        session.excuse("it has no server that the harness started, so there is no network between the two to fail")
    address = os.environ.get(ADDRESS, "")
    if not address:
        session.give_up(f"its start() names no {ADDRESS}, so the harness cannot stand between it and its store")
    return address


def save_through(session: Session, name: str, proxy: str) -> Attempt:
    """Save over a network that may fail; on ranks of its own, because clients keep where their store is."""
    store = os.environ[ADDRESS]
    moved = {key: value.replace(store, proxy) for key, value in os.environ.items() if store in value}
    os.environ.update(moved)
    attempt = session.attempt(session.save, state(NEW), session.new_id(name))
    # A stream that the failed save left open may publish half an object when it is collected.
    gc.collect()
    return attempt


def save_directly(session: Session, names: Sequence[str], version: int) -> None:
    """Save a version at each of these ids, over a network that works."""
    for name in names:
        session.save(state(version), session.new_id(name))


def what_loads(session: Session, names: Sequence[str]) -> list[Loaded]:
    """Report what a load of each of these ids gives, over a network that works."""
    return [_loaded(session, name) for name in names]


def save_again(session: Session, names: Sequence[str], clean: str) -> list[Left]:
    """Save at each of these ids once more, and at the new id `clean`; what then lies there, and at each of them."""
    save_directly(session, [clean, *names], NEW)
    return [_left(session, name) for name in (clean, *names)]


def state(version: int) -> dict[str, Any]:
    """Few values, each of which says of which save it is."""
    return {**{f"t{number}": coded(number, (600,), version=version) for number in range(2)}, "step": version}


def _loaded(session: Session, name: str) -> Loaded:
    target = blank(state(OLD))
    attempt = session.attempt(session.load, target, session.new_id(name))
    found = {version: differences(state(version), target, limit=1) for version in (OLD, NEW)}
    return Loaded(attempt=attempt, unlike={version: [item.sentence() for item in found[version]] for version in found})


def _left(session: Session, name: str) -> Left:
    blobs = session.blobs(session.new_id(name))
    if blobs is None:
        session.give_up("its stored bytes cannot be reached")
    return Left(objects=len(blobs.names()), uploads=tuple(uploads_left(blobs)))
