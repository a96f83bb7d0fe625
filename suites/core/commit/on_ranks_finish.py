"""When a checkpoint becomes one: what finish is given, what is readable before it, and what an overwrite leaves."""

from __future__ import annotations

import hashlib
import inspect
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
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.relay import Name, Recorder
from dcp_conformance.harness.subject.session import Session

# How late the slowest rank's write is where the order of writing and finishing is looked at.
LATE = 0.2
# A rank that waits for a dead one gives up after so many seconds.
GROUP_TIMEOUT = 3.0
# A store may remove what an overwrite replaced in the background; so many seconds are waited for it.
COLLECTED = 3.0


def own_state(rank: int, *, version: int = 1, names: int = 3, length: int = 16) -> dict[str, Any]:
    """What `rank` saves: tensors under names of its own, whose elements tell their version."""
    return {
        f"own{rank}.{number}": coded(rank * 64 + number, (length,), version=version) for number in range(names)
    }  # fmt: skip


def common_state(ranks: int, **arguments: Any) -> dict[str, Any]:
    """What `ranks` ranks saved, together."""
    return {key: value for rank in range(ranks) for key, value in own_state(rank, **arguments).items()}


def observed_finish(session: Session, faults: tuple[Fault, ...] = ()) -> tuple[list[Name] | None, Any, Any, list[Any]]:
    """One save: names that this rank's writer reported, when it ended, when finish began, and what finish was given."""
    recorder, checkpoint_id = Recorder(), session.new_id(f"with{len(faults)}")
    writer = recorder.around(session.writer(checkpoint_id, faults=faults))
    session.attempt(session.save, own_state(session.rank), checkpoint_id, writer=writer)
    return recorder.reported, recorder.writing_ended, recorder.finish_began, recorder.finished


def observed_finish_late(session: Session) -> tuple[list[Name] | None, Any, Any, list[Any]]:
    """As observed_finish, where the last rank is slow to write."""
    last = session.world_size - 1
    return observed_finish(session, (Fault(phase="write_data", ranks=(last,), kind="delay", seconds=LATE),))


def observed_finish_failing(session: Session) -> list[Any]:
    """The calls of finish on this rank during a save in which the last rank could not write."""
    last = session.world_size - 1
    return observed_finish(session, (Fault(phase="write_data", ranks=(last,), after=True),))[3]


def observed_finish_alone(session: Session) -> list[Any] | None:
    """What finish was given when each rank saves by itself; None where engine or storage have no such mode."""
    if "rank_local_metadata" in session.storage.unsupported or not session.takes("save", "use_collectives"):
        return None
    recorder, checkpoint_id = Recorder(), session.new_id()
    writer = recorder.around(session.writer(checkpoint_id))
    session.save(own_state(session.rank), checkpoint_id, writer=writer, use_collectives=False)
    return recorder.finished


def takes_a_writer(session: Session) -> bool:
    """Whether the engine under test can be watched through a writer at all."""
    return session.storage.writer is not None and session.takes("save", "storage_writer")


def save_with(session: Session, fault: Fault) -> Attempt:
    """How a save with a fault ended; its id is that of load_unfinished."""
    group = session.new_group(GROUP_TIMEOUT) if session.world_size > 1 else None
    return session.attempt(
        session.save, own_state(session.rank), session.new_id("unfinished"), faults=(fault,), process_group=group
    )  # fmt: skip


def load_unfinished(session: Session, ranks: int) -> Attempt:
    """How a load of the id ended whose save never finished."""
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
    """A save whose ranks are all killed at the moment when finish is called; its id is that of load_unfinished."""
    checkpoint_id = session.new_id("unfinished")
    pids: list[int] = [os.getpid()] * session.world_size
    if session.world_size > 1:
        torch.distributed.all_gather_object(pids, os.getpid())
    others = tuple(pid for pid in pids if pid != os.getpid())
    writer = interpose(session.writer(checkpoint_id), ("finish",), KillAll(others))
    session.save(own_state(session.rank, version=version, names=names, length=length), checkpoint_id, writer=writer)


def save_over_remains(session: Session, refusing: bool) -> tuple[list[str], list[Difference]]:
    """Save to the id whose earlier save never finished; keys of the metadata then, and what a load gives otherwise.

    refusing: with the writer told not to overwrite.
    """
    if refusing and refusal(session) is None:
        session.excuse("the backend overwrites, and has no option of its own that would refuse it")
    checkpoint_id, state = session.new_id("unfinished"), own_state(0, version=2, names=2)
    options = refusal(session) if refusing else {}
    session.save(state, checkpoint_id, writer=session.writer(checkpoint_id, **(options or {})))
    target = blank(state)
    session.load(target, checkpoint_id)
    return _keys(session, checkpoint_id), differences(state, target)


def second_id_after_failed_save(session: Session, world: int) -> tuple[list[str], list[str], list[Difference]]:
    """A save of other keys fails after it has written; the same writer then saves to another id.

    Returns the keys of the metadata there, the keys that were saved, and what a load gives otherwise.
    """
    first, second, ranks = session.new_id("first"), session.new_id("second"), range(world)
    writer = session.writer(first, faults=(Fault(phase="finish", ranks=(0,), last=1),))
    session.attempt(session.save, own_state(session.rank, version=1, names=5), first, writer=writer)
    session.save(own_state(session.rank, version=2, names=2), second, writer=writer, style="passed")
    wanted = {key: value for rank in ranks for key, value in own_state(rank, version=2, names=2).items()}
    target = blank(wanted)
    session.load(target, second)
    return _keys(session, second), sorted(wanted), differences(wanted, target)


def load_at_once(session: Session) -> list[Difference]:
    """Save with a slow finish; as soon as save returns on this rank, this rank alone loads everything."""
    checkpoint_id = session.new_id()
    slow = Fault(phase="finish", ranks=(0,), kind="delay", seconds=LATE)
    session.save(own_state(session.rank), checkpoint_id, faults=(slow,))
    wanted = common_state(session.world_size)
    target = blank(wanted)
    session.load(target, checkpoint_id, **_alone(session))
    return differences(wanted, target)


def overwritten(session: Session, style: str, reuse: bool) -> tuple[list[str], list[str], list[Difference]]:
    """Save t1 and then t2 to one id, with new writers or one; keys of the metadata, keys of t2, what a load gives."""
    checkpoint_id = session.new_id()
    writer = session.writer(checkpoint_id)
    for version, names in ((1, 4), (2, 3)):
        chosen = writer if reuse else session.writer(checkpoint_id)
        session.save(
            own_state(session.rank, version=version, names=names), checkpoint_id, writer=chosen, style=style
        )  # fmt: skip
    wanted = common_state(session.world_size, version=2, names=3)
    target = blank(wanted)
    session.load(target, checkpoint_id)
    return _keys(session, checkpoint_id), sorted(wanted), differences(wanted, target)


def refusal(session: Session) -> dict[str, Any] | None:
    """Options with which the writer refuses to overwrite.

    None needed where it opted out, `overwrite=False` where it has that option itself; None where it cannot be told.
    """
    if "overwrite" in session.storage.unsupported:
        return {}
    constructor = getattr(session.storage.writer, "__init__", None) if inspect.isclass(session.storage.writer) else None
    if constructor is None or "__init__" not in vars(session.storage.writer):
        return None
    return {"overwrite": False} if "overwrite" in inspect.signature(constructor).parameters else None


def refused_overwrite(session: Session) -> tuple[str, Attempt, list[str], list[Difference], list[Difference]]:
    """Save t1, try to save t2 to the same id, load; then save t2 to another id and load that.

    Returns the id, how the second save ended, stored objects that it changed, and what the loads give otherwise.
    """
    options = refusal(session)
    if options is None:
        session.excuse("the backend overwrites, and has no option of its own that would refuse it")
    checkpoint_id, other = session.new_id("taken"), session.new_id("free")
    old, new = own_state(session.rank, version=1), own_state(session.rank, version=2)
    session.save(old, checkpoint_id, writer=session.writer(checkpoint_id, **options))
    before = stored(session, checkpoint_id)
    _meet(session)
    attempt = session.attempt(session.save, new, checkpoint_id, writer=session.writer(checkpoint_id, **options))
    _meet(session)
    changed = changes(before, stored(session, checkpoint_id))
    session.save(new, other, writer=session.writer(other, **options))
    found = []
    for state, place in ((old, checkpoint_id), (new, other)):
        target = blank(state)
        session.load(target, place)
        found.append(differences(state, target))
    return str(checkpoint_id), attempt, changed, found[0], found[1]


def save_sized(session: Session, name: str, version: int, length: int) -> None:
    """One tensor of each rank, to the id of that name."""
    session.save(own_state(session.rank, version=version, names=1, length=length), session.new_id(name))


def stored_size(session: Session, name: str, limit: int) -> int:
    """Stored bytes of the id of that name, waited for while above `limit`."""
    blobs, deadline = session.stored_bytes(session.new_id(name)), time.monotonic() + COLLECTED
    while True:
        size = sum(len(blobs.read(blob)) for blob in blobs.names())
        if not limit or size <= limit or time.monotonic() > deadline:
            return size
        time.sleep(0.1)


def failing_finish(session: Session, fault: Fault) -> Attempt:
    """How a save ended whose finish failed."""
    return session.attempt(session.save, own_state(session.rank), session.new_id(), faults=(fault,))


def late_future(session: Session, seconds: float) -> tuple[float, float | None, list[float], Attempt, list[Difference]]:
    """The last rank's write future is late, while rank 0 tries to load in another thread.

    Returns the earliest moment at which that future may be complete (on the last rank; 0 elsewhere), when the save
    returned, the moments at which a load succeeded, how the save ended, and what a load gives otherwise.
    """
    checkpoint_id, last = session.new_id(), session.world_size - 1
    late = Fault(phase="write_data_future", ranks=(last,), kind="delay", seconds=seconds)
    writer = _Began(time.monotonic).around(session.writer(checkpoint_id, faults=(late,)))
    stop = threading.Event()
    loaded: list[Any] = []
    watcher = threading.Thread(target=_watch, args=(session, checkpoint_id, stop, loaded), daemon=True)
    watched = session.rank == 0 and bool(_alone(session))
    if watched:
        watcher.start()
    attempt = session.attempt(session.save, own_state(session.rank), checkpoint_id, writer=writer[0])
    returned = time.monotonic()
    stop.set()
    if watched:
        watcher.join()
    wanted = common_state(session.world_size)
    target = blank(wanted)
    if attempt.ok:
        session.load(target, checkpoint_id)
    due = writer[1].began + seconds if session.rank == last and writer[1].began is not None else 0.0
    return due, returned, loaded, attempt, differences(wanted, target) if attempt.ok else []


@dataclass
class _Began:
    """A tap that keeps when write_data was called, and leaves its future alone."""

    clock: Callable[[], float]
    began: float | None = None

    def around(self, writer: Any) -> tuple[Any, _Began]:
        return interpose(writer, ("write_data",), self), self

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See harness.faults.proxy.Tap."""
        self.began = self.clock()
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


def stored(session: Session, checkpoint_id: Any) -> dict[str, str]:
    """Names of stored objects with a digest of their content; {} where they cannot be reached."""
    if "stored_bytes" in session.storage.unsupported:
        return {}
    blobs = session.blobs(checkpoint_id)
    return {} if blobs is None else {name: hashlib.sha256(blobs.read(name)).hexdigest() for name in blobs.names()}


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What became of stored objects, in words."""
    words = [f"{name} was removed" for name in before if name not in after]
    words += [f"{name} was added" for name in after if name not in before]
    return words + [f"{name} was changed" for name in before if name in after and before[name] != after[name]]


def _keys(session: Session, checkpoint_id: Any) -> list[str]:
    """The keys that the stored metadata lists."""
    return sorted(session.reader(checkpoint_id).read_metadata().state_dict_metadata)


def _meet(session: Session) -> None:
    if session.world_size > 1:
        torch.distributed.barrier()
