"""Checkpoints beside each other whose ids are alike: each is saved, then every other one again, and all are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dcp_conformance.harness.backend.blobs import is_local_path
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.states import alike_names
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.core.commit.looks import Look


def beside_ids_alike(session: Session) -> list[Look]:
    """Save to ids that are alike, each another state, and then to every other one again; what each then holds."""
    ids = _ids(session)
    versions = dict.fromkeys(ids, 1)
    for number, checkpoint_id in enumerate(ids.values()):
        session.save(_state(number, 1), checkpoint_id)
    looks = _looks(session, ids, versions, "after one save to each of its like")
    if "overwrite" in session.storage.unsupported:
        return looks
    for number, (name, checkpoint_id) in enumerate(ids.items()):
        if number % 2 == 0:
            versions[name] = 2
            session.save(_state(number, 2), checkpoint_id)
    return looks + _looks(session, ids, versions, "after every other one of its like was saved anew")


def _ids(session: Session) -> dict[str, Any]:
    """Return ids by their names: those that every store tells apart, and of paths those that this file system does."""
    folder = Path(session.spec.scratch, f"{session.spec.place}-alike")
    folder.mkdir()
    made = {name: into_subject(session.storage.new_checkpoint_id, str(folder), name) for name in alike_names.IDS}
    if all(isinstance(found, str) and is_local_path(found) for found in made.values()):
        made |= {name: str(folder / name) for name in alike_names.PATHS}
    held = _told_apart(Path(session.spec.scratch, f"{session.spec.place}-told"), made)
    for name, checkpoint_id in held.items():
        announce("id", name=name, id=str(checkpoint_id))
    return held


def _told_apart(folder: Path, made: dict[str, Any]) -> dict[str, Any]:
    """Leave out names that the file system takes for others, and ids that the record gives twice."""
    held: dict[str, Any] = {}
    for name, checkpoint_id in made.items():
        try:
            (folder / name).mkdir(parents=True)
        except OSError:
            continue
        if str(checkpoint_id) not in map(str, held.values()):
            held[name] = checkpoint_id
    return held


def _state(number: int, version: int) -> dict[str, Any]:
    return {"t": coded(number, (6,), version=version), "u": coded(64 + number, (2, 2), version=version)}


def _looks(session: Session, ids: dict[str, Any], versions: dict[str, int], when: str) -> list[Look]:
    looks = []
    for number, (name, checkpoint_id) in enumerate(ids.items()):
        wanted = _state(number, versions[name])
        target = blank(wanted)
        session.load(target, checkpoint_id)
        looks.append(Look(when=f"from {name!r} {when}", found=differences(wanted, target)))
    return looks
