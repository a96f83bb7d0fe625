"""A rank dies in a phase; how do the others end?"""

from __future__ import annotations

from harness.faults.fault import Fault
from harness.scenarios.values import blank, coded
from harness.session import Session
from harness.spec import Attempt

GROUP_TIMEOUT = 5.0


def save_with_death(session: Session, fault: Fault) -> Attempt:
    """How a save ended on this rank, on a group that gives up after GROUP_TIMEOUT."""
    group = session.new_group(GROUP_TIMEOUT)
    return session.attempt(session.save, _state(session), session.new_id(), faults=(fault,), process_group=group)


def load_with_death(session: Session, fault: Fault) -> Attempt:
    """How a load ended on this rank, on a group that gives up after GROUP_TIMEOUT."""
    group, checkpoint_id = session.new_group(GROUP_TIMEOUT), session.new_id()
    session.save(_state(session), checkpoint_id)
    target = blank(_state(session))
    return session.attempt(session.load, target, checkpoint_id, faults=(fault,), process_group=group)


def _state(session: Session) -> dict[str, object]:
    return {f"own{session.rank}": coded(session.rank, (16,), version=1), "common": coded(99, (8,), version=1)}
