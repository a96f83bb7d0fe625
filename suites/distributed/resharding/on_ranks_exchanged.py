"""What a storage puts into plans, results and metadata: all of it travels between ranks, so all of it must pickle."""

from __future__ import annotations

import pickle
from typing import Any

from dcp_conformance.harness.faults.noting import Notes, noted_writer
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session


def unpicklable(session: Session) -> list[str] | None:
    """One sentence for each thing that the writer gave and that does not survive pickling; None without a storage."""
    if not session.drives_storage:
        return None
    notes, checkpoint_id = Notes(), session.new_id("noted")
    metadata = session.save(_state(session), checkpoint_id, writer=noted_writer(session.writer(checkpoint_id), notes))
    given = [(note.method, note.result) for note in notes.calls if note.method.startswith("prepare")]
    given += [("write_data", note.result.wait()) for note in notes.of("write_data")]
    given += [("finish", note.argument(0, "metadata")) for note in notes.of("finish")]
    return [problem for name, value in [*given, ("save", metadata)] for problem in _problems(name, value)]


def _problems(name: str, value: Any) -> list[str]:
    try:
        pickle.loads(pickle.dumps(value))
    except Exception as error:  # any error is the observation itself
        return [f"what {name} gave cannot be pickled and read back: {type(error).__name__}: {error}"]
    return []


def round_trip(session: Session) -> list[Difference]:
    """A save and load on all ranks, which sends all of that between them."""
    checkpoint_id = session.new_id("exchanged")
    session.save(_state(session), checkpoint_id)
    target = blank(_state(session))
    session.load(target, checkpoint_id)
    return differences(_state(session), target)


def _state(session: Session) -> dict[str, Any]:
    state: dict[str, Any] = {f"own{session.rank}": coded(session.rank, (16,), version=1).to(session.device)}
    if "objects" not in session.storage.unsupported:
        state[f"object{session.rank}"] = {"step": session.rank}["step"]
    return state
