"""Ranks die in the middle of a save; a later process loads what they left."""

from __future__ import annotations

import os
import signal

from harness.faults.fault import Fault
from harness.scenarios.compare import differences
from harness.scenarios.values import blank, coded
from harness.session import Session
from harness.spec import Attempt, Difference

# A rank that waits for a dead one gives up after so many seconds.
GROUP_TIMEOUT = 3.0


def save_and_die(session: Session) -> None:
    """Save, and be killed as soon as it has returned."""
    session.save(_state(session.rank), session.new_id())
    os.kill(os.getpid(), signal.SIGKILL)


def load_all(session: Session, ranks: int) -> list[Difference]:
    """Load in one process what `ranks` ranks saved."""
    wanted = {key: item for rank in range(ranks) for key, item in _state(rank).items()}
    target = blank(wanted)
    session.load(target, session.new_id())
    return differences(wanted, target)


def save_with_fault(session: Session, fault: Fault) -> Attempt:
    """How a save ended during which a rank met the fault."""
    group = session.new_group(GROUP_TIMEOUT)
    return session.attempt(session.save, _state(session.rank), session.new_id(), faults=(fault,), process_group=group)


def attempt_load(session: Session, ranks: int) -> Attempt:
    """How a load of the id ends."""
    target = blank({key: item for rank in range(ranks) for key, item in _state(rank).items()})
    return session.attempt(session.load, target, session.new_id())


def _state(rank: int) -> dict[str, object]:
    return {f"own{rank}": coded(rank, (1000,), version=1), f"step{rank}": 3}
