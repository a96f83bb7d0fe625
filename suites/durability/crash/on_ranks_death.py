"""Ranks die in the middle of a save; a later process loads what they left."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from dcp_conformance.harness.faults import corruption
from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.damaged import Damaged
from dcp_conformance.harness.subject.reading import reads_elsewhere, reads_watched
from dcp_conformance.harness.subject.session import Session, into_subject

# A rank that waits for a dead one gives up after so many seconds.
GROUP_TIMEOUT = 3.0


def save_and_die(session: Session) -> None:
    """Save, and be killed as soon as it has returned."""
    session.save(_state(session, session.rank), session.new_id())
    os.kill(os.getpid(), signal.SIGKILL)


def load_all(session: Session, ranks: int) -> list[Difference]:
    """Load in one process what `ranks` ranks saved."""
    wanted = {key: item for rank in range(ranks) for key, item in _state(session, rank).items()}
    target = blank(wanted)
    session.load(target, session.new_id())
    return differences(wanted, target)


def load_all_from_files(session: Session, ranks: int) -> list[Difference]:
    """As `load_all`; where a store is in local files, from these and from nothing that the dead have left in memory."""
    if "local_files" in session.storage.unsupported:
        return load_all(session, ranks)
    with reads_watched(session, Path(session.spec.scratch)) as watching:
        found = load_all(session, ranks)
    if said := reads_elsewhere(watching):
        session.give_up(said)
    return found


def save_with_fault(session: Session, fault: Fault) -> Attempt:
    """Report how a save ended during which a rank met the fault."""
    group = session.new_group(GROUP_TIMEOUT)
    return session.attempt(
        session.save, _state(session, session.rank), session.new_id(), faults=(fault,), process_group=group
    )


def save_alone_with_fault(session: Session, fault: Fault) -> Attempt:
    """Report how a save of one process ended that met the fault."""
    return session.attempt(session.save, _state(session, 0), session.new_id(), faults=(fault,))


def attempt_load(session: Session, ranks: int) -> Attempt:
    """Report how a load of the id ends."""
    target = blank({key: item for rank in range(ranks) for key, item in _state(session, rank).items()})
    return session.attempt(session.load, target, session.new_id())


def save_and_look_at_once(session: Session) -> tuple[Attempt, list[Difference]]:
    """Save; then this rank reads the metadata as a new client, without waiting for any other rank; then all load."""
    session.save(_state(session, session.rank), session.new_id())
    attempt = session.attempt(lambda: session.reader(session.new_id()).read_metadata())
    target = blank(_state(session, session.rank))
    session.load(target, session.new_id())
    return attempt, differences(_state(session, session.rank), target)


def metadata_is_whole(session: Session) -> list[bool]:
    """Tell whether the metadata names all that one rank saved; [] where it cannot be read."""
    found: list[bool] = []
    session.attempt(lambda: found.append(_names_all(session, session.reader(session.new_id()).read_metadata())))
    return found


def read_cut_metadata(session: Session) -> dict[str, Any]:
    """Report which cuts of the metadata's objects were read as if they were whole, but gave other metadata."""
    session.needs("stored_bytes")
    checkpoint_id, state = session.new_id(), _state(session, 0)
    session.save(state, checkpoint_id)
    blobs = session.stored_bytes(checkpoint_id)
    damaged = Damaged(session, state, checkpoint_id, blobs, into_subject(corruption.contents, blobs))
    sound, believed = damaged.metadata, []
    for name in damaged.metadata_names:
        data = damaged.stored[name]
        for length in corruption.sampled(0, len(data), 40)[:-1]:
            with corruption.inflicted(blobs, {name: data[:length]}, damaged.stored):
                found: list[bytes] = []
                session.attempt(lambda found=found: found.append(damaged.described_metadata()))
            if found and found != [sound]:
                believed.append(f"{name!r} cut to {length} of {len(data)} bytes")
    return {"believed": believed}


def _names_all(session: Session, metadata: Any) -> bool:
    return set(_state(session, session.rank)) <= set(metadata.state_dict_metadata)


def _state(session: Session, rank: int) -> dict[str, Any]:
    return session.suited({f"own{rank}": coded(rank, (1000,), version=1), f"step{rank}": 3})
