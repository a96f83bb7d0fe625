"""One fault in one phase on chosen ranks, on the real storage of the backend: what does every rank get?"""

from __future__ import annotations

from harness.faults.fault import Fault
from harness.scenarios.values import blank, coded
from harness.session import Session
from harness.spec import Attempt


def save_with_fault(session: Session, fault: Fault) -> tuple[Attempt, Attempt]:
    """What a save with the fault gave, then what gave a save and load of another id on the same group without it."""
    call = session.attempt(session.save, _state(session), session.new_id("faulted"), faults=(fault,))
    return call, session.attempt(_save_and_load, session)


def load_with_fault(session: Session, fault: Fault) -> tuple[Attempt, Attempt]:
    """What a load of a sound checkpoint gave with the fault, then a save and load of another id on the same group."""
    checkpoint_id = session.new_id("sound")
    session.save(_state(session), checkpoint_id)
    call = session.attempt(session.load, blank(_state(session)), checkpoint_id, faults=(fault,))
    return call, session.attempt(_save_and_load, session)


def load_faulted(session: Session) -> Attempt:
    """What a load of the id says whose save met the fault."""
    return session.attempt(session.load, blank(_state(session)), session.new_id("faulted"))


def _save_and_load(session: Session) -> None:
    checkpoint_id = session.new_id("after")
    session.save(_state(session), checkpoint_id)
    session.load(blank(_state(session)), checkpoint_id)


def _state(session: Session) -> dict[str, object]:
    own = coded(session.rank, (16,), version=1)
    return {f"own{session.rank}": own, "common": coded(99, (8,), version=1), "object": {"step": 3}}

