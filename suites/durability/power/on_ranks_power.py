"""Saves to an ext4 file system of their own whose power is cut after save has returned."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from dcp_conformance.harness.backend.blobs import is_local_path
from dcp_conformance.harness.faults.power import Disk, Unavailable, own_mounts
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.reading import reads_elsewhere, reads_watched
from dcp_conformance.harness.subject.session import Session, into_subject

OLD, NEW = 1, 2
# Seconds from the return of save to the cut. Ext4 commits its journal every 5 s, and writes data that nobody synced
# only after 30 s: in between a file may have its new name and none of its bytes.
MOMENTS = (0.0, 7.0)


def cut_after_return(session: Session) -> dict[str, Any]:
    """Save, cut the power at each of MOMENTS, and start again; {"cuts": [(kind of save, seconds)]} or a reason.

    The files that were found then lie at the ids of these saves, for any process.
    """
    try:
        return _cut_after_return(session)
    except Unavailable as reason:
        return {"impossible": str(reason)}


def _cut_after_return(session: Session) -> dict[str, Any]:
    own_mounts()
    made = [(moment, kind, _disk(session, kind, moment)) for moment in MOMENTS for kind in _kinds(session)]
    for _, kind, disk in made:
        if not _lies_on(disk, _id(session, disk)):
            return {"impossible": "an id of it is no path below the folder that it was given"}
        if kind == "overwrite":
            session.save(_state(OLD), _id(session, disk))
            disk.settle()
    for moment in MOMENTS:
        _save_and_cut(session, [disk for wanted, _, disk in made if wanted == moment], moment)
    for _, _, disk in made:
        disk.restart()
    return {"cuts": [(kind, moment) for moment, kind, _ in made]}


def what_loads(session: Session, kind: str, moment: float) -> dict[str, Any]:
    """Report what a load from one of these disks gives, as `harness.laws.versions` takes it."""
    checkpoint_id = into_subject(session.storage.new_checkpoint_id, str(_place(session, kind, moment)), "saved")
    target, found = blank(_state(NEW)), {}
    with reads_watched(session, _place(session, kind, moment)) as watching:
        attempt = session.attempt(session.load, target, checkpoint_id)
    if said := reads_elsewhere(watching):
        session.give_up(said)
    for version in (OLD, NEW):
        found[version] = [item.sentence() for item in differences(_state(version), target, limit=1)]
    return {"attempt": attempt, "unlike": found}


def _kinds(session: Session) -> list[str]:
    fresh_only = {"overwrite", "crash_safe_overwrite"} & set(session.storage.unsupported)
    return ["fresh"] if fresh_only else ["fresh", "overwrite"]


def _save_and_cut(session: Session, disks: list[Disk], moment: float) -> None:
    returned = []
    for disk in disks:
        session.save(_state(NEW), _id(session, disk))
        returned.append(time.monotonic())
        if not moment:
            disk.cut()
    for disk, since in zip(disks, returned, strict=True) if moment else ():
        time.sleep(max(0.0, since + moment - time.monotonic()))
        disk.cut()
    announce("fault", phase="power", what=f"cut {moment:g} s after save had returned")


def _disk(session: Session, kind: str, moment: float) -> Disk:
    place = _place(session, kind, moment)
    return Disk(place.parent, place.name)


def _place(session: Session, kind: str, moment: float) -> Path:
    return Path(session.spec.scratch, f"{session.spec.place}-{kind}-{moment:g}")


def _id(session: Session, disk: Disk) -> Any:
    return into_subject(session.storage.new_checkpoint_id, str(disk.place), "saved")


def _lies_on(disk: Disk, checkpoint_id: Any) -> bool:
    local = isinstance(checkpoint_id, str) and is_local_path(checkpoint_id)
    return local and Path(checkpoint_id).is_relative_to(disk.place)


def _state(version: int) -> dict[str, Any]:
    return {"one": coded(1, (2000,), version=version), "two": coded(2, (500,), version=version)}
