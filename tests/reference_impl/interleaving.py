"""Every order in which the file operations of several saves and loads of one folder can follow each other.

Actors are threads that run the real code on a real folder, and stand still before each file operation until the
scheduler picks them. A state is what every actor has done and seen so far, with the content of the folder; a state that
was reached before is not explored again, so all orders are covered although most are never run from end to end. A
state is reached by running its actors anew from the start, in the order that led there.

What this cannot see: reads and writes of an opened file count as one operation with the opening.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dcp_conformance.reference_impl.files import local_files
from dcp_conformance.reference_impl.storage import filesystem_writer

#: Seconds for one step of one actor; only a defect of the test itself takes so long.
PATIENCE = 20.0


class Killed(BaseException):
    """Unwinds an actor that died; what it does to files on its way out is not done."""


@dataclass
class Actor:
    """One save or load, in a thread that stands still before each file operation."""

    name: str
    work: Callable[[Path], Any]
    history: list[Hashable] = field(default_factory=list)
    waits_for_lock: bool = False
    done: bool = False
    dead: bool = False
    value: Any = None
    error: BaseException | None = None
    uuids: int = 0
    go: threading.Event = field(default_factory=threading.Event)
    stands: threading.Event = field(default_factory=threading.Event)

    def run(self, folder: Path) -> None:
        try:
            self.value = self.work(folder)
        except BaseException as error:
            self.error = error
        self.done = True
        self.stands.set()

    def pause(self, *, for_lock: bool = False) -> None:
        """Stand still until picked. Raises Killed in an actor that was killed."""
        if self.dead:
            raise Killed
        self.waits_for_lock = for_lock
        self.stands.set()
        assert self.go.wait(PATIENCE), "the scheduler forgot an actor"
        self.go.clear()
        self.waits_for_lock = False
        if self.dead:
            raise Killed

    def advance(self) -> None:
        """Let the actor do one operation and stand still before its next."""
        self.stands.clear()
        self.go.set()
        assert self.stands.wait(PATIENCE), f"{self.name} does not come to its next file operation"


@dataclass
class Stage:
    """One run of the actors over a folder of its own: what they see in place of ``os``, ``open`` and ``fcntl``."""

    folder: Path
    actors: Sequence[Actor]
    locks: bool
    holder: Actor | None = None
    descriptor: int = -1
    #: Names of the actors whose metadata took its place, in order.
    committed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._threads: dict[int, Actor] = {}

    def raise_curtain(self) -> None:
        """Start the actors; each stands before its first operation."""
        for actor in self.actors:
            thread = threading.Thread(target=self._enter, args=(actor,), daemon=True)
            thread.start()
            assert actor.stands.wait(PATIENCE)

    def _enter(self, actor: Actor) -> None:
        self._threads[threading.get_ident()] = actor
        actor.run(self.folder)

    def actor(self) -> Actor | None:
        """The actor of this thread; None for the test itself, which is never stopped."""
        return self._threads.get(threading.get_ident())

    def choices(self) -> list[Actor]:
        """Actors that can go on."""
        blocked = self.holder is not None
        return [a for a in self.actors if not (a.done or a.dead or (blocked and a.waits_for_lock))]

    def take(self, step: str) -> None:
        """Let the actor of this name go one operation on; ``kill NAME`` ends it as SIGKILL would, without its lock."""
        actor = next(actor for actor in self.actors if actor.name == step.removeprefix("kill "))
        if step != actor.name:
            actor.dead = True
            self._release(actor)
        actor.advance()

    def state(self) -> Hashable:
        """All that decides what can happen from here on."""
        holder = self.holder.name if self.holder else None
        told = tuple((a.done, a.dead, tuple(a.history)) for a in self.actors)
        return (holder, told, tuple((name, self._content(name)) for name in sorted(os.listdir(self.folder))))

    def close(self) -> None:
        for actor in self.actors:
            while not actor.done:
                actor.dead = True
                actor.advance()

    # -- the operations ------------------------------------------------------------------------------------------------

    def operation(self, name: str, path: Any) -> None:
        """An actor is about to do a file operation: it stands still, and what it will see becomes part of the state."""
        actor = self.actor()
        if actor is None or self.folder not in (Path(path), *Path(path).parents):
            return
        actor.pause()
        actor.history.append((name, Path(path).name, self._content(Path(path).name)))
        if name == "replace" and not Path(path).name.endswith(".tmp"):
            self.committed.append(actor.name)

    def flock(self, descriptor: int, _kind: int) -> None:
        actor = self.actor()
        if actor is None:
            return
        if not self.locks:
            raise OSError(errno.ENOLCK, "no locks available")
        actor.pause(for_lock=True)
        actor.history.append("locked")
        self.holder, self.descriptor = actor, descriptor

    def close_descriptor(self, descriptor: int) -> None:
        actor = self.actor()
        if actor is not None and actor is self.holder and descriptor == self.descriptor:
            self._release(actor)
        os.close(descriptor)

    def uuid(self) -> str:
        """Save ids that are the same in every run."""
        actor = self.actor()
        if actor is None:
            return "f" * 32
        actor.uuids += 1
        return hashlib.md5(f"{actor.name}{actor.uuids}".encode()).hexdigest()

    def _release(self, actor: Actor) -> None:
        if self.holder is actor:
            self.holder = None

    def _content(self, name: str) -> Hashable:
        path = self.folder / name
        if path == self.folder / self.folder.name or not path.is_file():
            return tuple(sorted(os.listdir(self.folder))) if name == self.folder.name else None
        return hashlib.md5(path.read_bytes()).hexdigest()


class SteppedOs:
    """``os`` for the code under test: operations on names in the folder are steps, all else is passed on."""

    STEPS = ("stat", "unlink", "scandir")

    def __init__(self, theatre: Theatre) -> None:
        self._theatre = theatre

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self.STEPS:
            return real

        def stepped(path: Any, *args: Any, **kwargs: Any) -> Any:
            self._theatre.stage.operation(name, path)
            return real(path, *args, **kwargs)

        return stepped

    def replace(self, source: Any, target: Any) -> None:
        self._theatre.stage.operation("replace", target)
        os.replace(source, target)

    def fsync(self, descriptor: int) -> None:
        """Not done: it changes nothing that others see, and takes most of the time."""

    def close(self, descriptor: int) -> None:
        self._theatre.stage.close_descriptor(descriptor)


@dataclass
class Theatre:
    """Explores all orders of some actors. ``prepare`` fills a folder, ``judge`` looks at every possible end."""

    scratch: Path
    actors: dict[str, Callable[[Path], Any]]
    prepare: Callable[[Path], None]
    judge: Callable[[Stage], None]
    locks: bool
    #: The actor that may be killed before any of its operations.
    mortal: str | None = None
    stage: Stage = field(init=False)
    states: int = 0

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put the stepped operations in the place of the real ones."""

        def stepped_open(path: Any, *args: Any, **kwargs: Any) -> Any:
            self.stage.operation("open", path)
            return open(path, *args, **kwargs)

        patch.setattr(local_files, "os", SteppedOs(self))
        patch.setattr(local_files, "open", stepped_open, raising=False)
        flock = SimpleNamespace(flock=lambda *args: self.stage.flock(*args), LOCK_EX=2, LOCK_NB=4)
        patch.setattr(local_files, "fcntl", flock)
        patch.setattr(filesystem_writer, "uuid", SimpleNamespace(uuid4=lambda: self.stage.uuid()))

    def explore(self) -> int:
        """Judge every end that can be reached; how many orders of the operations lead there."""
        self._pristine = self.scratch / "pristine"
        self._pristine.mkdir(parents=True)
        self.stage = Stage(self._pristine, (), self.locks)
        self.prepare(self._pristine)
        self._orders: dict[Hashable, int] = {}
        return self._count((), self._reach(()))

    def _count(self, order: tuple[str, ...], stage: Stage) -> int:
        """The number of ways on from where ``order`` led to; goes the first of them with the actors as they stand."""
        state = stage.state()
        if state in self._orders:
            stage.close()
            return self._orders[state]
        self.states += 1
        steps = self._steps(stage)
        if not steps:
            self._end(order, stage)
        for number, step in enumerate(steps):
            if number == 0:
                stage.take(step)
            following = self._count((*order, step), stage if number == 0 else self._reach((*order, step)))
            self._orders[state] = self._orders.get(state, 0) + following
        return self._orders.setdefault(state, 1)

    def _steps(self, stage: Stage) -> list[str]:
        names = [actor.name for actor in stage.choices()]
        return [*names, f"kill {self.mortal}"] if self.mortal in names else names

    def _reach(self, order: tuple[str, ...]) -> Stage:
        """A new run of all actors, in this order."""
        folder = self.scratch / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._pristine, folder)
        self.stage = Stage(folder, [Actor(name, work) for name, work in self.actors.items()], self.locks)
        self.stage.raise_curtain()
        for step in order:
            self.stage.take(step)
        return self.stage

    def _end(self, order: tuple[str, ...], stage: Stage) -> None:
        assert all(actor.done for actor in stage.actors), f"nobody can go on after {order}"
        try:
            self.judge(stage)
        except AssertionError as error:
            raise AssertionError(f"{error}; the order was {', '.join(order)}") from None
