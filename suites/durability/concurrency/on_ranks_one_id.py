"""One id, a save of it, and something else that happens to the same id in the middle of that save."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dcp_conformance.harness.backend.blobs import Blobs
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.durability.concurrency.on_ranks_concurrency import NEW, OLD, flag

# How long one side waits for the other: a store that lets them in one by one must not be stopped for ever.
PATIENCE = 2.0
STOPS = ("write_data", "item 2", "finish")


def load_in_the_middle(session: Session, stop: str) -> dict[str, Any]:
    """Load an id while its overwrite stands still: before `write_data`, before its second item, or before `finish`."""
    checkpoint_id = session.new_id()
    states = {OLD: _state(OLD), NEW: dict(reversed(_state(NEW).items()))}
    session.save(states[OLD], checkpoint_id)
    gate = _Gate(stop)
    writer = interpose(session.writer(checkpoint_id), ("write_data", "finish"), gate)
    ended: list[Attempt] = []
    thread = threading.Thread(
        target=lambda: ended.append(session.attempt(session.save, states[NEW], checkpoint_id, writer=writer))
    )
    thread.start()
    try:
        gate.reached.wait(PATIENCE)
        target = blank(states[OLD])
        attempt = session.attempt(session.load, target, checkpoint_id)
    finally:
        gate.open.set()
        thread.join()
    unlike = {version: differences(state, target, limit=1) for version, state in states.items()}
    return {
        "reached": gate.reached.is_set(), "load": attempt, "save": ended[0],
        "unlike": {version: [item.sentence() for item in unlike[version]] for version in unlike},
    }  # fmt: skip


def save_alone_on_two_ranks(session: Session) -> Attempt:
    """Each rank saves by itself to the same id; both have written before rank 0 commits, and rank 1 commits last."""
    waits = {0: "written-1", 1: "ended-0"}[session.rank]
    steps = _Turns(flag(session, f"written-{session.rank}"), flag(session, waits))
    checkpoint_id = session.new_id("disputed")
    writer = interpose(session.writer(checkpoint_id), ("write_data", "finish"), steps)
    alone = {"no_dist": True} if session.takes("save", "no_dist") else {}
    try:
        return session.attempt(session.save, _own(session.rank), checkpoint_id, writer=writer, **alone)
    finally:
        flag(session, f"ended-{session.rank}").touch()
        flag(session, f"written-{session.rank}").touch()


def save_with_others_unseen(session: Session) -> dict[str, Any]:
    """Rank 1 alone has something to save, and its objects are not to be seen while rank 0 commits."""
    session.needs("stored_bytes")
    checkpoint_id = session.new_id("unseen")
    blobs = _blobs(session, checkpoint_id)
    unseen = _Unseen(session.rank, blobs, flag(session, "written-0"))
    writer = interpose(session.writer(checkpoint_id), ("write_data", "finish"), unseen)
    attempt = session.attempt(session.save, _own(1) if session.rank else {}, checkpoint_id, writer=writer)
    return {"attempt": attempt, "hidden": unseen.hidden}


def load_unseen(session: Session) -> list[Difference]:
    """Report what a load gives of what rank 1 saved."""
    target = blank(_own(1))
    session.load(target, session.new_id("unseen"))
    return differences(_own(1), target)


def _blobs(session: Session, checkpoint_id: Any) -> Blobs:
    # There is nothing stored yet, so that an empty list of names says nothing about whether they can be reached.
    try:
        blobs = session.blobs(checkpoint_id)
    except LookupError as error:
        session.give_up(f"the stored bytes cannot be reached: {error}")
    if blobs is None:
        session.give_up("the stored bytes cannot be reached: the record gives no access to them")
    return blobs


class _Gate:
    """Stops a save once at one place until it is opened, or for PATIENCE after a load should have been over."""

    def __init__(self, stop: str) -> None:
        self._stop, self._items = stop, 0
        self.reached, self.open = threading.Event(), threading.Event()

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if method == self._stop:
            self._pass()
        if method == "resolve_data":
            self._items += 1
            if self._stop == "item 2" and self._items == 2:
                self._pass()
        if method == "write_data":
            args = tuple(self._watched(arg) for arg in args)
            kwargs = {name: self._watched(arg) for name, arg in kwargs.items()}
        return inner(*args, **kwargs)

    def _watched(self, arg: Any) -> Any:
        return interpose(arg, ("resolve_data",), self) if hasattr(arg, "resolve_data") else arg

    def _pass(self) -> None:
        self.reached.set()
        self.open.wait(PATIENCE)


class _Turns:
    """Says when this side has written, and commits only when the other side has come as far as it must."""

    def __init__(self, written: Path, awaited: Path) -> None:
        self._written, self._awaited = written, awaited

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if method == "finish":
            wait_for(self._awaited)
            announce("turn", awaited=self._awaited.exists())
            return inner(*args, **kwargs)
        result = inner(*args, **kwargs)
        into_subject(result.wait)  # what is written by a thread of its own is written now
        self._written.touch()
        return result


class _Unseen:
    """Takes away, while rank 0 commits, what others have stored, as a store does that shows new objects late."""

    def __init__(self, rank: int, blobs: Any, written: Path) -> None:
        self._rank, self._blobs, self._written = rank, blobs, written
        self._own: list[str] = []
        self.hidden: list[str] = []

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if method == "finish":
            with self._away():
                return inner(*args, **kwargs)
        if self._rank:
            wait_for(self._written)
            return inner(*args, **kwargs)
        result = inner(*args, **kwargs)
        into_subject(result.wait)
        self._own = into_subject(self._blobs.names)
        self._written.touch()
        return result

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        self.hidden = sorted(set(into_subject(self._blobs.names)) - set(self._own))
        kept = {name: into_subject(self._blobs.read, name) for name in self.hidden}
        for name in kept:
            into_subject(self._blobs.delete, name)
        try:
            yield
        finally:
            there = set(into_subject(self._blobs.names))
            for name in sorted(set(kept) - there):
                into_subject(self._blobs.write, name, kept[name])


def wait_for(path: Path) -> None:
    """Wait until a file is there, and not for ever."""
    until = time.monotonic() + PATIENCE
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.005)


def _state(version: int) -> dict[str, Any]:
    return {f"t{number}": coded(number, (900,), version=version) for number in range(4)}


def _own(rank: int) -> dict[str, Any]:
    return {f"own{rank}": coded(rank, (30,), version=1)}
