"""Taps and old-fashioned shims around storage and planners: who was called, in which order, with what."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.distributed.checkpoint import StorageReader, StorageWriter

from dcp_conformance.harness.faults.fault import READER_PHASES, WRITER_PHASES
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.subject.session import Session, into_subject

PLANNER_STEPS = ("set_up_planner", "create_local_plan", "create_global_plan", "finish_plan")
# A step as plain data: whose method, and what is worth knowing of its argument.
Step = tuple[str, str]


@dataclass
class Steps:
    """A tap that writes down every call in the list `seen`, shared by all objects that it looks at."""

    who: str
    seen: list[Step] = field(default_factory=list)

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See harness.faults.proxy.Tap."""
        given = [*args, *kwargs.values()]
        first = given[0] if given else None
        # Text and not the object: what is seen crosses to the judge as plain data, and a plan may hold whole tensors.
        self.seen.append((f"{self.who}.{method}", str(len(first)) if isinstance(first, list) else str(first)[:400]))
        return inner(*args, **kwargs)


def watched(what: Any, who: str, seen: list[Step]) -> Any:
    """`what`, a "writer", "reader" or "planner", with its calls written down in `seen`."""
    methods = {"writer": tuple(WRITER_PHASES), "reader": tuple(READER_PHASES), "planner": PLANNER_STEPS}[who]
    return interpose(what, methods, Steps(who, seen))


def uses_storage(session: Session, *calls: str) -> bool:
    """Tell whether the subject has a storage pair, and these calls of its engine (default: save and load) take one."""
    names = {"save": "storage_writer", "async_save": "storage_writer", "load": "storage_reader"}
    chosen = calls or ("save", "load")
    return session.storage.writer is not None and all(session.takes(name, names[name]) for name in chosen)


def engine_call(session: Session, name: str, *args: Any, **kwargs: Any) -> Any:
    """Call the engine with exactly these arguments, as a caller does who names no storage, or names it by position."""
    session.needs_arguments(name, kwargs)
    if len(args) < 2 and "checkpoint_id" not in kwargs and not session.may_leave_out(name, "checkpoint_id"):
        session.excuse(f"its {name} cannot be called without an id")
    announce("call", owner=session.function_owner(name), part="E", name=name)
    return into_subject(getattr(session.engine, name), *args, **kwargs)


@contextlib.contextmanager
def in_fresh_folder(session: Session, name: str = "cwd") -> Iterator[str]:
    """Work in an empty folder of this rank below the scratch folder, and come back."""
    folder = os.path.join(session.spec.scratch, f"{session.spec.place}-{name}-{session.rank}")
    # It must be new: a folder left by an earlier case would hide what this one leaves in it.
    os.makedirs(folder)
    with working_in(folder):
        yield folder


@contextlib.contextmanager
def working_in(folder: str) -> Iterator[None]:
    """Work in `folder`, and come back."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        # In `finally`, and by its path: ranks are used again, and their fingerprint compares the working directory.
        os.chdir(before)


def listing(folder: str) -> list[str]:
    """Return everything below a folder, by relative path."""
    return sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
    )  # fmt: skip


def warned_by(call: Callable[..., Any], *args: Any, **kwargs: Any) -> set[str]:
    """Return the texts of the warnings that a call gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*args, **kwargs)
    return {f"{item.category.__name__}: {item.message}" for item in caught}


@contextlib.contextmanager
def noticed() -> Iterator[list[str]]:
    """Collect the texts of all warnings and of all log records from WARNING on, while it lasts."""
    texts: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    always = torch.is_warn_always_enabled()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # torch gives most of its warnings once a process; a rank that was used before would be silent.
        torch.set_warn_always(True)
        logging.getLogger().addHandler(handler)
        try:
            yield texts
        finally:
            logging.getLogger().removeHandler(handler)
            torch.set_warn_always(always)
            texts.extend(str(item.message) for item in caught)


class OldWriter(StorageWriter):
    """A writer from before set-up methods took more than their original arguments, around the one under test."""

    def __init__(self, inner: Any, given: list[str]) -> None:
        self.inner, self.given = inner, given

    def reset(self, checkpoint_id: Any = None) -> None:
        self.inner.reset(checkpoint_id)

    def storage_meta(self) -> Any:
        return self.inner.storage_meta()

    def set_up_storage_writer(self, is_coordinator: bool) -> None:
        self.inner.set_up_storage_writer(is_coordinator)

    def prepare_local_plan(self, plan: Any) -> Any:
        return self.inner.prepare_local_plan(plan)

    def prepare_global_plan(self, plans: Any) -> Any:
        return self.inner.prepare_global_plan(plans)

    def write_data(self, plan: Any, planner: Any) -> Any:
        return self.inner.write_data(plan, planner)

    def finish(self, metadata: Any, results: Any) -> None:
        self.inner.finish(metadata, results)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


class NamedWriter(OldWriter):
    """A writer with arguments of its own for what an engine may know; it has no room for others, and notes them."""

    def set_up_storage_writer(
        self, is_coordinator: bool, rank: int | None = None, use_collectives: bool | None = None
    ) -> None:
        self.given += _told(rank, use_collectives)
        self.inner.set_up_storage_writer(is_coordinator)


class NewWriter(OldWriter):
    """A writer that takes whatever else an engine gives, and notes what that was."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        if args:
            self.given.append(f"argument {len(args)}")
        self.given += kwargs
        self.inner.set_up_storage_writer(is_coordinator)


class OldReader(StorageReader):
    """A reader from before set-up methods took more than their original arguments, around the one under test."""

    def __init__(self, inner: Any, given: list[str]) -> None:
        self.inner, self.given = inner, given

    def reset(self, checkpoint_id: Any = None) -> None:
        self.inner.reset(checkpoint_id)

    def read_metadata(self) -> Any:
        return self.inner.read_metadata()

    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool) -> None:
        self.inner.set_up_storage_reader(metadata, is_coordinator)

    def prepare_local_plan(self, plan: Any) -> Any:
        return self.inner.prepare_local_plan(plan)

    def prepare_global_plan(self, plans: Any) -> Any:
        return self.inner.prepare_global_plan(plans)

    def read_data(self, plan: Any, planner: Any) -> Any:
        return self.inner.read_data(plan, planner)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


class NamedReader(OldReader):
    """A reader with arguments of its own for what an engine may know; it has no room for others, and notes them."""

    def set_up_storage_reader(
        self, metadata: Any, is_coordinator: bool, rank: int | None = None, use_collectives: bool | None = None
    ) -> None:
        self.given += _told(rank, use_collectives)
        self.inner.set_up_storage_reader(metadata, is_coordinator)


class NewReader(OldReader):
    """A reader that takes whatever else an engine gives, and notes what that was."""

    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        if args:
            self.given.append(f"argument {len(args)}")
        self.given += kwargs
        self.inner.set_up_storage_reader(metadata, is_coordinator)


def _told(rank: int | None, use_collectives: bool | None) -> list[str]:
    given = {"rank": rank, "use_collectives": use_collectives}
    return [name for name, value in given.items() if value is not None]
