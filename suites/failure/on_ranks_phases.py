"""One fault in one phase on chosen ranks, on the real storage of the backend: what does every rank get?"""

from __future__ import annotations

from typing import Any

import torch.distributed

from dcp_conformance.harness.faults.fault import LOAD_PHASES, SAVE_PHASES, Fault
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject import engine_calls
from dcp_conformance.harness.subject.session import Session

COORDINATOR_ONLY = ("prepare_global_plan", "finish")


def save_with_fault(session: Session, fault: Fault) -> tuple[Attempt, Attempt]:
    """Save with the fault, then save and load another id on the same group without it; report both."""
    call = session.attempt(session.save, _state(session), session.new_id("faulted"), faults=(fault,))
    return call, session.attempt(_save_and_load, session)


def load_with_fault(session: Session, fault: Fault) -> tuple[Attempt, Attempt]:
    """Load a sound checkpoint with the fault, then save and load another id on the same group; report both."""
    checkpoint_id = session.new_id("sound")
    session.save(_state(session), checkpoint_id)
    call = session.attempt(session.load, blank(_state(session)), checkpoint_id, faults=(fault,))
    return call, session.attempt(_save_and_load, session)


def load_faulted(session: Session) -> Attempt:
    """Report what a load of the id says whose save met the fault."""
    return session.attempt(session.load, blank(_state(session)), session.new_id("faulted"))


def every_phase_of_one_process(session: Session, call: str) -> tuple[bool, dict[str, Attempt]]:
    """Put a fault into each phase in turn. Reports whether there is a process group, and how each `call` ended."""
    has_group = torch.distributed.is_available() and torch.distributed.is_initialized()
    sound, ended = session.new_id("sound"), {}
    session.save(_state(session), sound)
    for phase in SAVE_PHASES if call == "save" else LOAD_PHASES:
        faults = (Fault(phase=phase, ranks=(0,)),)
        if call == "save":
            ended[phase] = session.attempt(session.save, _state(session), session.new_id(phase), faults=faults)
        else:
            ended[phase] = session.attempt(session.load, blank(_state(session)), sound, faults=faults)
    return has_group, ended


def every_phase_with_coordinator(
    session: Session, call: str, coordinator: int
) -> tuple[Attempt, dict[str, Attempt]] | None:
    """Report how a sound `call` through the deprecated interface ended, and one with a fault in each phase in turn.

    The fault is on the coordinator and its neighbour, or on the coordinator alone where only that runs the phase. None:
    the engine has no deprecated interface.
    """
    save, load = (
        engine_calls.deprecated(session, "save_state_dict"),
        engine_calls.deprecated(session, "load_state_dict"),
    )
    if save is None or load is None:
        return None
    sound = session.new_id("sound")
    kept = session.attempt(save, _state(session), session.writer(sound), coordinator_rank=coordinator)
    if call == "load":
        kept = session.attempt(load, blank(_state(session)), session.reader(sound), coordinator_rank=coordinator)
    ended = {}
    for phase in SAVE_PHASES if call == "save" else LOAD_PHASES:
        fault = Fault(phase=phase, ranks=failing(phase, coordinator, session.world_size))
        storage: Any
        if call == "save":
            storage = session.writer(session.new_id(phase), faults=(fault,))
            ended[phase] = session.attempt(save, _state(session), storage, coordinator_rank=coordinator)
        else:
            storage = session.reader(sound, faults=(fault,))
            ended[phase] = session.attempt(load, blank(_state(session)), storage, coordinator_rank=coordinator)
    return kept, ended


def failing(phase: str, coordinator: int, world: int) -> tuple[int, ...]:
    """Return the ranks that fail in `phase` in the runs with a named coordinator."""
    return (coordinator,) if phase in COORDINATOR_ONLY else tuple(sorted((coordinator, (coordinator + 1) % world)))


def _save_and_load(session: Session) -> None:
    checkpoint_id = session.new_id("after")
    session.save(_state(session), checkpoint_id)
    session.load(blank(_state(session)), checkpoint_id)


def _state(session: Session) -> dict[str, object]:
    own = coded(session.rank, (16,), version=1)
    state: dict[str, object] = {f"own{session.rank}": own, "common": coded(99, (8,), version=1)}
    if "objects" not in session.storage.unsupported:
        state["object"] = {"step": 3}
    return state
