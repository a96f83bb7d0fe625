"""One place, spelled in many ways: save under one spelling, load under another."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.faults.storage import observed_writer
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.laws.verbs import described
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.driving import drive_load, drive_save
from dcp_conformance.harness.subject.looking import in_fresh_folder
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.core.calls.on_ranks_storage_calls import PathOfAnotherKind

# How a place in the working directory is spelled: its plain relative name, and what is given as the id.
# "link" is a symbolic link to the working directory, made beside the checkpoints.
_Spelling = Callable[[str, str], tuple[str, Any]]
_SPELLINGS: dict[str, _Spelling] = {
    "relative": lambda folder, name: (name, name),
    "relative and nested": lambda folder, name: (f"deep/{name}", f"deep/{name}"),
    "trailing slash": lambda folder, name: (name, f"{folder}/{name}/"),
    "doubled slash": lambda folder, name: (f"deep/{name}", f"{folder}//deep///{name}"),
    "dots": lambda folder, name: (name, f"./there/../{name}"),
    "Path": lambda folder, name: (name, Path(folder, name)),
    "relative Path": lambda folder, name: (name, Path(name)),
    "another PathLike": lambda folder, name: (name, PathOfAnotherKind(f"{folder}/{name}")),
    "space": lambda folder, name: (f"{name} of ours", f"{folder}/{name} of ours"),
    "hash": lambda folder, name: (f"{name}#1", f"{folder}/{name}#1"),
    "question mark": lambda folder, name: (f"{name}?x=1", f"{folder}/{name}?x=1"),
    "percent": lambda folder, name: (f"{name}%20x", f"{folder}/{name}%20x"),
    "braces": lambda folder, name: (f"{name}{{rank}}", f"{folder}/{name}{{rank}}"),
    "brackets": lambda folder, name: (f"{name}[12]", f"{folder}/{name}[12]"),
    "conversions": lambda folder, name: (f"{name}%s%d", f"{folder}/{name}%s%d"),
    "other letters": lambda folder, name: (f"{name}-\u00fc\u4e2d", f"{folder}/{name}-\u00fc\u4e2d"),
    "tilde": lambda folder, name: (f"~/{name}", f"~/{name}"),
    "tilde in the name": lambda folder, name: (f"~{name}", f"~{name}"),
    "link to the parent": lambda folder, name: (name, f"{folder}/link/{name}"),
}


def both_ways(session: Session, spelling: str) -> dict[str, list[Difference]]:
    """Save by the spelling and load by the plain absolute path, and the reverse."""
    found = {}
    with in_fresh_folder(session, "spelled") as folder:
        os.makedirs("there")
        os.symlink(folder, "link")
        for way in ("saved", "loaded"):
            plain, spelled = _SPELLINGS[spelling](folder, way)
            ids = (spelled, f"{folder}/{plain}")
            saved_by, loaded_by = ids if way == "saved" else ids[::-1]
            found[f"a checkpoint {way} by a {spelling} spelling"] = _round_trip(session, saved_by, loaded_by, plain)
    return found


def linked_root(session: Session) -> dict[str, list[Difference]]:
    """Save to an id that is a symbolic link to a folder that will hold the checkpoint, or that holds it."""
    with in_fresh_folder(session, "linked") as folder:
        os.makedirs("real")
        os.symlink(f"{folder}/real", "name")
        return {
            "a checkpoint saved through a linked root": _round_trip(
                session, f"{folder}/name", f"{folder}/real", "real"
            ),
            "a checkpoint loaded through a linked root": _through_link(session, folder),
        }


def missing_parents(session: Session) -> list[Difference]:
    """Save to an id of which three levels are missing."""
    place = os.path.join(str(session.new_id()), "one", "two", "three")
    return _round_trip(session, place, place, "three")


def folder_changed_meanwhile(session: Session) -> dict[str, Any]:
    """Save by a relative id, change the working directory as soon as it is to write, and look in both places.

    The new directory has an empty folder of the same relative name, as the next run of the same job would.
    """
    if session.storage.writer is None:
        session.excuse("its engine has a store of its own, whose saves nobody can look into")
    state = _state()
    with in_fresh_folder(session, "before") as before, contextlib.ExitStack() as moves:
        moving = _Moving(lambda: moves.enter_context(in_fresh_folder(session, "after")))
        inner = observed_writer(
            into_subject(session.storage.writer, "run/step"), rank=session.rank, owner=session.storage_owner
        )
        save = session.attempt(drive_save, interpose(inner, ("write_data",), moving), state)
    old, new = blank(state), blank(state)
    loads = {"old": session.attempt(lambda: drive_load(session.reader(f"{before}/run/step"), old))}
    loads["new"] = session.attempt(lambda: drive_load(session.reader(f"{moving.to or before}/run/step"), new))
    return {"save": save, "reached": moving.to != "", **loads, "differences": differences(state, old)}


class _Moving:
    """A tap that changes the working directory before the storage writes, in the thread that calls it."""

    def __init__(self, move: Callable[[], str]) -> None:
        self._move, self.to = move, ""

    def call(self, method: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.to = self._move()
        os.makedirs("run/step")
        return function(*args, **kwargs)


def _round_trip(session: Session, saved_by: Any, loaded_by: Any, plain: str) -> list[Difference]:
    state, target = _state(), blank(_state())
    session.save(state, saved_by)
    attempt = session.attempt(session.load, target, loaded_by)
    if attempt.error is not None:
        return [Difference(plain, (), "a checkpoint that loads", described(attempt.error))]
    return differences(state, target)


def _through_link(session: Session, folder: str) -> list[Difference]:
    os.makedirs("real2", exist_ok=True)
    os.symlink(f"{folder}/real2", "name2")
    return _round_trip(session, f"{folder}/real2", f"{folder}/name2", "real2")


def _state() -> dict[str, Any]:
    return {"t": coded(1, (5,), version=1), "u": coded(2, (2, 3), version=1)}
