"""Checkpoints with equal entries: overwritten in turns, and beside a save that fails and is made good.

A store may keep equal contents once. What it then replaces, takes back or sweeps may be what others still need.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dcp_conformance.harness.faults.fault import PLANNER_PHASES, Fault
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.equal import equal_state
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject import engine_calls
from dcp_conformance.harness.subject.looking import uses_storage
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.core.commit.looks import Look
from dcp_conformance.suites.core.commit.unstorable import Unstorable

# The neighbour, which no later save is about, and the id of the save that fails.
KEPT, FAILED = "kept", "failed"
# What a failed save and its repetition hold: all of the neighbour's, but for what has moved on.
NEXT = 2
# A version that has nothing in common with any other.
UNLIKE = 9


def entries_in_turns(session: Session, versions: tuple[int, ...]) -> list[Look]:
    """Save these versions to one id, one after the other, with a look after each."""
    session.needs("overwrite")
    looks = []
    for number, version in enumerate(versions, 1):
        _save(session, "turns", version)
        looks.append(_look(session, f"after save {number} of {len(versions)} to one id", "turns", version))
    return looks


def save_neighbour(session: Session, over: bool) -> None:
    """Save the neighbour. over: and the same to the id at which a save will fail."""
    if over:
        session.needs("overwrite")
    _save(session, KEPT, 1)
    if over:
        _save(session, FAILED, 1)


def failing_save(session: Session, fault: Fault | None) -> Attempt:
    """Save most of the neighbour's values to the other id, and meet the fault.

    None: the storage's own finish cannot store the metadata.
    """
    if not uses_storage(session, "save"):
        session.excuse("the engine takes no storage that could fail")
    checkpoint_id, arguments = session.new_id(FAILED), {}  # type: Any, dict[str, Any]
    if fault is None:
        arguments["planner"] = Unstorable(engine_calls.planner(session, "Save"))
    elif fault.phase in PLANNER_PHASES:
        arguments["planner"] = engine_calls.planner(session, "Save", faults=(fault,))
    else:
        arguments["faults"] = (fault,)
    return session.attempt(session.save, _own(session, NEXT), checkpoint_id, **arguments)


def looks_after(session: Session, again: bool) -> list[Look]:
    """Look at the neighbour after the failure, after the next save to the other id, and after one more.

    again: the next save is the one that failed, else it holds nothing of what that one held.
    """
    looks = [_look(session, "after a save failed at another id", KEPT, 1)]
    _save(session, FAILED, NEXT if again else UNLIKE)
    looks.append(_look(session, "after the next save to that id", KEPT, 1))
    looks.append(_look(session, "of the next save to the id where one failed", FAILED, NEXT if again else UNLIKE))
    if "overwrite" not in session.storage.unsupported:
        _save(session, FAILED, NEXT + 1)
        looks.append(_look(session, "after one more save to that id", KEPT, 1))
        looks.append(_look(session, "of one more save to that id", FAILED, NEXT + 1))
    return looks


def _save(session: Session, name: str, version: int) -> None:
    session.save(_own(session, version), session.new_id(name))


def _own(session: Session, version: int) -> dict[str, Any]:
    own = _state(session, [session.rank], version)
    return {key: value.to(session.device) if hasattr(value, "to") else value for key, value in own.items()}


def _look(session: Session, when: str, name: str, version: int) -> Look:
    wanted = _state(session, range(session.world_size), version)
    target = blank(wanted)
    session.load(target, session.new_id(name))
    return Look(when=when, found=differences(wanted, target))


def _state(session: Session, ranks: Iterable[int], version: int) -> dict[str, Any]:
    if version == UNLIKE:
        return {f"unlike{rank}": coded(300 + rank, (9,), version=version) for rank in ranks}
    return equal_state(ranks, version, objects="objects" not in session.storage.unsupported)
