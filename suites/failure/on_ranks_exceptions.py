"""Exceptions of unusual kinds: that no `except Exception` sees, that cannot be sent, that a storage raises itself."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject


def save_with_fault(session: Session, fault: Fault) -> Attempt:
    """Report how a save with the fault ended on this rank."""
    state = {f"own{session.rank}": coded(session.rank, (16,), version=1), "common": coded(99, (8,), version=1)}
    return session.attempt(session.save, state, session.new_id(), faults=(fault,))


def raised_by_storage(session: Session) -> list[tuple[str, str, str]]:
    """Report what the storage raised in awkward places: (where, the exception, what pickling made of it or "")."""
    found = []
    for where, error in _provoked(session):
        for inner in _innermost(error):
            found.append((where, f"{type(inner).__name__}: {str(inner)[:100]}", _lost_on_the_way(inner)))
    return found


def _provoked(session: Session) -> Iterator[tuple[str, BaseException]]:
    absent, damaged, occupied = (session.new_id(name) for name in ("absent", "damaged", "occupied"))
    yield from _caught("a load of an id that was never saved", into_subject, session.reader(absent).read_metadata)
    state = {"t": coded(1, (3000,), version=1), "u": coded(2, (10,), version=1)}
    if "stored_bytes" not in session.storage.unsupported:
        session.save(state, damaged)
        stored = session.blobs(damaged)
        for name in stored.names() if stored is not None else ():
            assert stored is not None
            content = stored.read(name)
            stored.write(name, content[: len(content) // 2])
            yield from _caught("a load of a checkpoint that was cut short", session.load, blank(state), damaged)
            stored.write(name, content)
    if "local_files" not in session.storage.unsupported:
        with open(occupied, "w") as file:
            file.write("this is no folder")
        yield from _caught("a save to an id that names a file", session.save, state, occupied)
        os.unlink(occupied)


def _caught(where: str, function: Any, *args: Any) -> Iterator[tuple[str, BaseException]]:
    try:
        function(*args)
    except BaseException as error:  # CheckpointException is no Exception
        yield where, error


def _innermost(error: BaseException) -> list[BaseException]:
    failures = getattr(error, "failures", None)
    return [error] if not isinstance(failures, dict) else [wrapped[0] for wrapped in failures.values()]


def _lost_on_the_way(error: BaseException) -> str:
    try:
        back = pickle.loads(pickle.dumps(error))
    except BaseException as second:  # foreign __reduce__ and __init__ may raise anything
        return f"cannot be sent ({type(second).__name__}: {str(second)[:100]})"
    if type(back) is not type(error):
        return f"arrives as {type(back).__name__}"
    return "" if str(back) == str(error) else f"arrives with the text {str(back)[:100]!r}"


class Announcing:
    """A Stateful that tells of every call of load_state_dict."""

    def __init__(self) -> None:
        self.value = coded(5, (12,), version=1)
        self.loaded = 0

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.loaded += 1


def load_that_fails_on_one_rank(session: Session, fault: Fault) -> tuple[Attempt, int]:
    """Report how a load with the fault ended, and how often load_state_dict of the Stateful in it was called."""
    checkpoint_id, stateful = session.new_id(), Announcing()
    session.save({"s": stateful, f"own{session.rank}": coded(1, (4,), version=1)}, checkpoint_id)
    target = {"s": stateful, f"own{session.rank}": torch.zeros(4, dtype=torch.float64)}
    ended = session.attempt(session.load, target, checkpoint_id, faults=(fault,))
    return ended, stateful.loaded
