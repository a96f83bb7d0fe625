"""Saves that are recorded call by call, and the question which call made each of them loadable."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dcp_conformance.harness.recording import operations
from dcp_conformance.harness.recording.operations import Recording
from dcp_conformance.harness.replay import disk
from dcp_conformance.harness.replay.rebuild import rebuild
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, pattern
from dcp_conformance.harness.subject.reading import reads_elsewhere, reads_watched
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.harness.subject.watch_ranks import apart, folder_of, recorded

_ITEMS, _LENGTH = 3, 12_000


def option_sets(session: Session) -> list[dict[str, Any]]:
    """Return the options of the writer to go through.

    Those of the record, and two threads where the writer takes torch's own parameter for them.
    """
    found = [dict(options) for options in session.storage.option_sets]
    writer = session.storage.writer
    takes = writer is not None and "thread_count" in inspect.signature(writer).parameters
    return found + ([{"thread_count": 2}] if takes and not any("thread_count" in item for item in found) else [])


def save_with(session: Session, state: Any, checkpoint_id: Any, options: Mapping[str, Any]) -> None:
    """Save with these options of the writer; without any, as the engine would."""
    own = {"writer": session.writer(checkpoint_id, **options)} if options else {}
    session.save(state, checkpoint_id, **own)


def payload(rank: int, *, version: int = 1) -> dict[str, Any]:
    """Return the tensors that nobody can make smaller, and a number."""
    tensors: dict[str, Any] = {
        f"r{rank}.t{number}": pattern(f"r{rank}.t{number}", (_LENGTH,), torch.int32, version=version)
        for number in range(_ITEMS)
    }
    return {**tensors, f"r{rank}.step": version}


def whole(ranks: int, *, version: int = 1) -> dict[str, Any]:
    """Report what `ranks` ranks save together."""
    return {key: item for rank in range(ranks) for key, item in payload(rank, version=version).items()}


def recorded_saves(session: Session) -> list[dict[str, Any]] | str:
    """For each option set, where the recording of a save to a fresh id is; a sentence where there can be none."""
    if session.world_size > 1 and "multi_process" in session.storage.unsupported:
        return session.storage.unsupported["multi_process"]
    found = []
    for number, options in enumerate(option_sets(session)):
        place = f"set{number}"
        inside = apart(session, place)
        checkpoint_id = inside.new_id()
        with recorded(session, place, place=place) as watching:
            save_with(inside, session.suited(payload(session.rank)), checkpoint_id, options)
            watching.returned()
        size = _LENGTH * 4 * _ITEMS * session.world_size
        found.append({"options": str(options), "place": place, "path": watching.path, "bytes": size})
    return found


def commits(session: Session, ranks: int, recordings: list[tuple[str, str]]) -> list[int | None]:
    """For each (place, path of the recording): after how many operations the save became loadable; None for never."""
    found = []
    for place, path in recordings:
        recording = operations.load(Path(path))
        with reads_watched(session, folder_of(session, place)) as watching:
            found.append(_first_that_loads(session, ranks, place, recording))
        if said := reads_elsewhere(watching):
            session.give_up(said)
        rebuild(folder_of(session, place), recording.after)
    return found


def _first_that_loads(session: Session, ranks: int, place: str, recording: Recording) -> int | None:
    def loads(count: int) -> bool:
        played = disk.Disk(recording.before)
        for operation in recording.operations[:count]:
            played.play(operation)
        rebuild(folder_of(session, place), played.tree())
        wanted = session.suited(whole(ranks))
        target = blank(wanted)
        inside = apart(session, place)
        return session.attempt(inside.load, target, inside.new_id()).ok and not differences(wanted, target, limit=1)

    low, high = 0, len(recording.operations)
    if not loads(high):
        return None
    # A save to a fresh id loads from its commit on, and not before.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if loads(middle) else (middle, high)
    return high
