"""When a checkpoint becomes one: what finish is given, and what is readable before it and after it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank
from dcp_conformance.harness.subject.looking import uses_storage
from dcp_conformance.harness.subject.relay import Name, Recorder
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.core.commit.saved import common_state, needs_a_writer, own_state

# How late the slowest rank's write is where the order of writing and finishing is looked at.
LATE = 0.2
# A rank that waits for a dead one gives up after so many seconds.
GROUP_TIMEOUT = 3.0


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What one rank saw of the end of a save; moments are of the clock that all ranks share."""

    #: Names that this rank's writer reported.
    reported: list[Name]
    #: When write_data had ended on this rank; 0 where it did not.
    writing_ended: float
    #: When each call of finish began.
    began: list[float]
    #: What each call of finish was given.
    given: list[list[list[Name]]]


@dataclass(frozen=True, kw_only=True)
class LateSave:
    """Save while another thread of rank 0 tries to load."""

    #: The earliest moment at which the late future may be complete, on its rank; 0 elsewhere.
    due: float
    returned: float
    #: The moments at which a load began that succeeded.
    loads: list[float]
    save: Attempt
    found: list[Difference]


def observed_finish(session: Session, faults: tuple[Fault, ...] = ()) -> Finish:
    """Save once, and look at what the writer reports and finish is given."""
    needs_a_writer(session)
    recorder, checkpoint_id = Recorder(), session.new_id(f"with{len(faults)}")
    writer = recorder.around(session.writer(checkpoint_id, faults=faults))
    session.attempt(session.save, own_state(session.rank), checkpoint_id, writer=writer)
    return _finish(recorder)


def observed_finish_late(session: Session) -> Finish:
    """As observed_finish, where the last rank is slow to write."""
    last = session.world_size - 1
    return observed_finish(session, (Fault(phase="write_data", ranks=(last,), kind="delay", seconds=LATE),))


def observed_finish_failing(session: Session) -> Finish:
    """As observed_finish, where the last rank cannot write."""
    last = session.world_size - 1
    return observed_finish(session, (Fault(phase="write_data", ranks=(last,), after=True),))


def observed_finish_alone(session: Session) -> Finish:
    """As observed_finish, where each rank saves by itself."""
    needs_a_writer(session)
    session.needs("rank_local_metadata")
    if not session.takes("save", "use_collectives"):
        session.excuse("the engine's save has no use_collectives")
    recorder, checkpoint_id = Recorder(), session.new_id()
    writer = recorder.around(session.writer(checkpoint_id))
    session.save(own_state(session.rank), checkpoint_id, writer=writer, use_collectives=False)
    return _finish(recorder)


def _finish(recorder: Recorder) -> Finish:
    return Finish(
        reported=recorder.reported or [],
        writing_ended=recorder.writing_ended or 0.0,
        began=recorder.finish_began,
        given=recorder.finished,
    )


def save_with(session: Session, fault: Fault) -> Attempt:
    """Save with a fault, to the id of load_unfinished, and report how that ended."""
    group = session.new_group(GROUP_TIMEOUT) if session.world_size > 1 else None
    return session.attempt(
        session.save, own_state(session.rank), session.new_id("unfinished"), faults=(fault,), process_group=group
    )  # fmt: skip


def load_unfinished(session: Session, ranks: int) -> Attempt:
    """Load the id whose save never finished, and report how that ended."""
    return session.attempt(session.load, blank(common_state(ranks)), session.new_id("unfinished"))


@dataclass
class KillAll:
    """A tap that kills every rank of a save just before the real finish is called."""

    pids: tuple[int, ...]

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See harness.faults.proxy.Tap."""
        announce("fault", phase="finish", what="kill")
        for pid in (*self.pids, os.getpid()):
            os.kill(pid, signal.SIGKILL)
        return inner(*args, **kwargs)


def save_killed_before_finish(session: Session, version: int, names: int, length: int) -> None:
    """Save to the id of load_unfinished, and kill all ranks at the moment when finish is called."""
    checkpoint_id = session.new_id("unfinished")
    pids: list[int] = [os.getpid()] * session.world_size
    if session.world_size > 1:
        torch.distributed.all_gather_object(pids, os.getpid())
    others = tuple(pid for pid in pids if pid != os.getpid())
    writer = interpose(session.writer(checkpoint_id), ("finish",), KillAll(others))
    session.save(own_state(session.rank, version=version, names=names, length=length), checkpoint_id, writer=writer)


def load_at_once(session: Session) -> list[Difference]:
    """Save with a slow finish; as soon as save returns on this rank, this rank alone loads everything.

    Where the backend opted out of resharding this rank alone reads the metadata, and all ranks load together.
    """
    checkpoint_id = session.new_id()
    slow = Fault(phase="finish", ranks=(0,), kind="delay", seconds=LATE)
    session.save(own_state(session.rank), checkpoint_id, faults=(slow,))
    if "resharding" not in session.storage.unsupported:
        return _loaded(session, checkpoint_id, **_alone(session))
    if uses_storage(session, "load"):
        into_subject(session.reader(checkpoint_id).read_metadata)
    return _loaded(session, checkpoint_id)


def failing_finish(session: Session, fault: Fault) -> Attempt:
    """Save with a failing finish, and report how that ended."""
    return session.attempt(session.save, own_state(session.rank), session.new_id(), faults=(fault,))


def late_future(session: Session, seconds: float) -> LateSave:
    """Save while the last rank's write future is late and rank 0 tries to load in another thread."""
    needs_a_writer(session)
    checkpoint_id, last = session.new_id(), session.world_size - 1
    late = Fault(phase="write_data_future", ranks=(last,), kind="delay", seconds=seconds)
    start = _Start()
    writer = interpose(session.writer(checkpoint_id, faults=(late,)), ("write_data",), start)
    loads: list[float] = []
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(session, checkpoint_id, stop, loads), daemon=True)
    watched = session.rank == 0 and bool(_alone(session))
    if watched:
        watcher.start()
    attempt = session.attempt(session.save, own_state(session.rank), checkpoint_id, writer=writer)
    returned = time.monotonic()
    stop.set()
    if watched:
        watcher.join()
    due = start.moment + seconds if session.rank == last and start.moment is not None else 0.0
    found = _loaded(session, checkpoint_id) if attempt.ok else []
    return LateSave(due=due, returned=returned, loads=loads, save=attempt, found=found)


def late_step(session: Session, fault: Fault) -> tuple[Attempt, list[Difference]]:
    """Save while one rank is late in one step; report how the save ended and what loads then."""
    checkpoint_id = session.new_id()
    attempt = session.attempt(session.save, own_state(session.rank), checkpoint_id, faults=(fault,))
    return attempt, _loaded(session, checkpoint_id) if attempt.ok else []


def _loaded(session: Session, checkpoint_id: Any, **arguments: Any) -> list[Difference]:
    wanted = common_state(session.world_size)
    target = blank(wanted)
    session.load(target, checkpoint_id, **arguments)
    return differences(wanted, target)


@dataclass
class _Start:
    """A tap that keeps when write_data was called, and leaves its future alone."""

    moment: float | None = None

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See harness.faults.proxy.Tap."""
        self.moment = time.monotonic()
        return inner(*args, **kwargs)


def _alone(session: Session) -> dict[str, bool]:
    """Arguments of a load that waits for no other rank; {} for an engine that has no such load."""
    return {"no_dist": True} if session.takes("load", "no_dist") else {}


def _watch(session: Session, checkpoint_id: Any, stop: threading.Event, loaded: list[float]) -> None:
    while not stop.is_set():
        began = time.monotonic()
        if session.attempt(session.load, blank(own_state(0)), checkpoint_id, no_dist=True).ok:
            loaded.append(began)
        stop.wait(0.1)
