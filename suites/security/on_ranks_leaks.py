"""What others could learn: permissions of what is stored, and what error texts and logs say."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dcp_conformance.harness.backend.blobs import is_local_path
from dcp_conformance.harness.cluster import ExceptionRecord
from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session

SECRET = "s3cr3t-Pa55word"
ADDRESS = f"store://someone:{SECRET}@store.invalid/bucket/checkpoint"


def modes_under(session: Session, umask: int) -> dict[str, int]:
    """Report what a save under this umask makes at its id and below: path -> mode, links left out."""
    checkpoint_id = session.new_id()
    if not isinstance(checkpoint_id, str) or not is_local_path(checkpoint_id):
        session.give_up("its id is no local path, so nothing can be looked at there")
    before = os.umask(umask)
    try:
        session.save({"first": coded(1, (16,), version=1), "second": coded(2, (16,), version=1)}, checkpoint_id)
    finally:
        os.umask(before)
    return {path: mode for path, (mode, _) in _modes(checkpoint_id).items()}


def modes_of_overwrite(session: Session, umask: int) -> dict[str, int]:
    """Report what a save under this umask makes anew where a checkpoint was saved under umask 000: path -> mode.

    What was there before and is kept or written into again was not created, and is left out.
    """
    session.needs("overwrite")
    checkpoint_id = session.new_id()
    if not isinstance(checkpoint_id, str) or not is_local_path(checkpoint_id):
        session.give_up("its id is no local path, so nothing can be looked at there")
    state, before = {"first": coded(1, (16,), version=1), "second": coded(2, (16,), version=1)}, os.umask(0)
    try:
        session.save(state, checkpoint_id)
        old = {number for _, number in _modes(checkpoint_id).values()}
        os.umask(umask)
        session.save(state, checkpoint_id)
    finally:
        os.umask(before)
    return {path: mode for path, (mode, number) in _modes(checkpoint_id).items() if number not in old}


def _modes(checkpoint_id: str) -> dict[str, tuple[int, int]]:
    """Mode and inode of all that is at an id and below, links left out."""
    root = Path(checkpoint_id)
    paths = [path for path in (root, *root.rglob("*")) if path.exists() and not path.is_symlink()]
    stats = {str(path.relative_to(root.parent)): path.stat() for path in paths}
    return {path: (stat.S_IMODE(found.st_mode), found.st_ino) for path, found in stats.items()}


def texts_of_failures(session: Session) -> list[str]:
    """Collect all that a rank is told, errors and logs, when a save and loads of an id with a password fail."""
    if not session.drives_storage:
        # It might well make a folder with that password.
        session.excuse("its engine keeps a store of its own, to which no address with a password can be given")
    state = {"first": coded(7, (9,), version=3)}
    logged = _Logged()
    with logged:
        errors = [attempt.error for attempt in _failures(session, state) if attempt.error is not None]
    return [*(text for error in errors for text in _texts(error)), *logged.texts]


def revealed(session: Session) -> list[str]:
    """Find the words that must not be in these texts: the password, and elements of the tensor."""
    return [SECRET, *(str(int(number)) for number in coded(7, (9,), version=3)[:3])]


def _failures(session: Session, state: dict[str, Any]) -> Iterator[Any]:
    def save(name: str, **arguments: Any) -> None:
        writer = session.writer(session.new_id(name), **arguments)
        session.save(state, ADDRESS, writer=_relabelled(writer, session.new_id(name)), style="passed")

    def load(target: Any, **arguments: Any) -> None:
        reader = session.reader(session.new_id("sound"), **arguments)
        session.load(target, ADDRESS, reader=_relabelled(reader, session.new_id("sound")), style="passed")

    yield session.attempt(save, "sound")
    for phase in ("prepare_local_plan", "write_data", "finish"):
        yield session.attempt(save, f"failed-{phase}", faults=(_fault(phase, session),))
    yield session.attempt(load, blank(state), faults=(_fault("read_data", session),))
    yield session.attempt(load, blank({"first": state["first"][:4]}))
    yield session.attempt(load, blank({"missing": state["first"]}))


def _fault(phase: str, session: Session) -> Fault:
    return Fault(phase=phase, ranks=(0 if phase == "finish" else session.world_size - 1,))


class _Relabel:
    """Lets a storage work at an id of this run while its engine was given another one."""

    def __init__(self, checkpoint_id: Any) -> None:
        self._id = checkpoint_id

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return inner(self._id)


def _relabelled(storage: Any, checkpoint_id: Any) -> Any:
    return interpose(storage, ("reset",), _Relabel(checkpoint_id))


def _texts(error: ExceptionRecord) -> Iterator[str]:
    yield error.text
    # The last lines of a traceback are the texts again, with notes; source lines hold no values.
    yield error.traceback
    for inner in (*(error.failures or {}).values(), *([error.cause] if error.cause is not None else [])):
        yield from _texts(inner)


class _Logged(logging.Handler):
    """Collect all that an application would see in its log if it asked for everything."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def __enter__(self) -> _Logged:
        root = logging.getLogger()
        self._level = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *error: object) -> None:
        root = logging.getLogger()
        root.setLevel(self._level)
        root.removeHandler(self)
