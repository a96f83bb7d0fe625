"""Saves over a checkpoint that fail before anybody was asked to write: in a phase, by what is saved, or for a peer."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness.faults.fault import PLANNER_PHASES, Fault
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject import engine_calls
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.core.commit.looks import Look
from dcp_conformance.suites.core.commit.on_ranks_history import own_part, seen

# Ranks give up on one that never comes after so many seconds.
GROUP_TIMEOUT = 3.0


def fails_in(session: Session, when: str, ranks: tuple[int, ...]) -> tuple[Attempt, Look]:
    """Let a save over a checkpoint fail in a phase on these ranks. Report how it ended, and what loads then."""
    session.needs("overwrite")
    checkpoint_id, world = session.new_id(), session.world_size
    session.save(own_part(session, world, 1), checkpoint_id)
    # In the planning for all the storage has done its part when it fails.
    fault = Fault(phase=when, ranks=ranks, after=when == "prepare_global_plan")
    arguments: dict[str, Any] = {"faults": (fault,)}
    if when in PLANNER_PHASES:
        arguments = {"planner": engine_calls.planner(session, "Save", faults=(fault,))}
    ended = session.attempt(session.save, own_part(session, world, 2), checkpoint_id, **arguments)
    return ended, seen(session, f"after a save that failed in {when}", checkpoint_id, 1)


def fails_by(session: Session, what: str) -> tuple[Attempt, Attempt, Look | None]:
    """As fails_in, by what the save is given: "no mapping", or values of one key on which the ranks "disagree".

    Report how it ended, how a load ended, and what loaded: a save that was not refused has replaced the old state.
    """
    session.needs("overwrite")
    checkpoint_id, world, looks = session.new_id(), session.world_size, []  # type: tuple[Any, int, list[Look]]
    session.save(own_part(session, world, 1), checkpoint_id)
    state: Any = own_part(session, world, 2)
    if what == "disagree":
        state["disputed"] = coded(1, (4 + session.rank,), version=2).to(session.device)
    ended = session.attempt(session.save, list(state.values()) if what == "no mapping" else state, checkpoint_id)
    when = f"after a save that was refused ({what})"
    loaded = session.attempt(lambda: looks.append(seen(session, when, checkpoint_id, 1)))
    return ended, loaded, looks[0] if looks else None


def save_first(session: Session) -> None:
    """Save what is to stay as it is."""
    session.needs("overwrite")
    session.save(own_part(session, session.world_size, 1), session.new_id())


def save_without_last(session: Session) -> Attempt:
    """All ranks but the last save: it never comes, and they give up on it."""
    group = session.new_group(GROUP_TIMEOUT)
    if session.rank == session.world_size - 1:
        return session.attempt(lambda: None)
    state = own_part(session, session.world_size, 2)
    return session.attempt(session.save, state, session.new_id(), process_group=group)


def look(session: Session) -> Look:
    """Look at what loads after a save to which one rank did not come."""
    return seen(session, "after a save to which one rank did not come", session.new_id(), 1)
