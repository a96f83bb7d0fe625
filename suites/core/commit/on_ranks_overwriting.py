"""A second save to one id: it leaves exactly its own state, nothing of the first, or it is refused."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.core.commit.saved import (
    changes,
    common_state,
    needs_a_writer,
    own_state,
    stored,
    stored_keys,
)

# A store may remove what an overwrite replaced in the background; so many seconds are waited for it.
COLLECTED = 3.0


@dataclass(frozen=True, kw_only=True)
class Held:
    """What an id holds after the last save to it."""

    #: The keys that its metadata lists, and those that were saved.
    keys: list[str]
    wanted: list[str]
    found: list[Difference]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Save to an id that was taken, and to another id after it."""

    checkpoint_id: str
    save: Attempt
    #: Stored objects of the old checkpoint that the refused save changed, in words.
    changed: list[str]
    old: list[Difference]
    new: list[Difference]


def save_over_remains(session: Session, refusing: bool) -> Held:
    """Save to the id whose earlier save never finished. refusing: with the writer told not to overwrite."""
    options = _refusal(session) if refusing else {}
    checkpoint_id, state = session.new_id("unfinished"), own_state(0, version=2, names=2)
    session.save(state, checkpoint_id, writer=session.writer(checkpoint_id, **options))
    return _held(session, checkpoint_id, state)


def second_id_after_failed_save(session: Session, world: int) -> Held:
    """Save to another id with a writer whose save of other keys failed after it had written."""
    needs_a_writer(session)
    first, second = session.new_id("first"), session.new_id("second")
    writer = session.writer(first, faults=(Fault(phase="finish", ranks=(0,), last=1),))
    session.attempt(session.save, own_state(session.rank, version=1, names=5), first, writer=writer)
    session.save(own_state(session.rank, version=2, names=2), second, writer=writer, style="passed")
    return _held(session, second, common_state(world, version=2, names=2))


def overwritten(session: Session, style: str, reuse: bool) -> Held:
    """Save two states to one id. reuse: with one writer, and not with two."""
    checkpoint_id = session.new_id()
    writer = session.writer(checkpoint_id)
    for version, names in ((1, 4), (2, 3)):
        chosen = writer if reuse else session.writer(checkpoint_id)
        session.save(
            own_state(session.rank, version=version, names=names), checkpoint_id, writer=chosen, style=style
        )  # fmt: skip
    return _held(session, checkpoint_id, common_state(session.world_size, version=2, names=3))


def refused_overwrite(session: Session) -> Refused:
    """Save t1, try to save t2 to the same id, and load; then save t2 to another id and load that."""
    options = _refusal(session)
    checkpoint_id, other = session.new_id("taken"), session.new_id("free")
    old, new = own_state(session.rank, version=1), own_state(session.rank, version=2)
    session.save(old, checkpoint_id, writer=session.writer(checkpoint_id, **options))
    before = stored(session, checkpoint_id)
    _meet(session)
    attempt = session.attempt(session.save, new, checkpoint_id, writer=session.writer(checkpoint_id, **options))
    _meet(session)
    changed = changes(before, stored(session, checkpoint_id))
    session.save(new, other, writer=session.writer(other, **options))
    return Refused(
        checkpoint_id=str(checkpoint_id),
        save=attempt,
        changed=changed,
        old=_found(session, checkpoint_id, old),
        new=_found(session, other, new),
    )


def save_sized(session: Session, name: str, version: int, length: int) -> None:
    """Save one tensor of each rank to the id of that name."""
    session.save(own_state(session.rank, version=version, names=1, length=length), session.new_id(name))


def stored_size(session: Session, name: str, limit: int) -> int:
    """Count the stored bytes of the id of that name; wait while they are above `limit`."""
    blobs, deadline = session.stored_bytes(session.new_id(name)), time.monotonic() + COLLECTED
    while True:
        size = sum(len(blobs.read(blob)) for blob in blobs.names())
        if not limit or size <= limit or time.monotonic() > deadline:
            return size
        time.sleep(0.1)


def _refusal(session: Session) -> dict[str, Any]:
    """Options with which the writer refuses to overwrite: none where it always does, else its own `overwrite=False`."""
    if "overwrite" in session.storage.unsupported:
        return {}
    writer = session.storage.writer
    own = vars(writer).get("__init__") if inspect.isclass(writer) else None
    if own is None or "overwrite" not in inspect.signature(own).parameters:
        session.excuse("the backend overwrites, and has no option of its own that would refuse it")
    return {"overwrite": False}


def _held(session: Session, checkpoint_id: Any, wanted: dict[str, Any]) -> Held:
    found = _found(session, checkpoint_id, wanted)
    return Held(keys=stored_keys(session, checkpoint_id), wanted=sorted(wanted), found=found)


def _found(session: Session, checkpoint_id: Any, wanted: dict[str, Any]) -> list[Difference]:
    target = blank(wanted)
    session.load(target, checkpoint_id)
    return differences(wanted, target)


def _meet(session: Session) -> None:
    if session.world_size > 1:
        torch.distributed.barrier()
