"""Ranks die or stand still in the middle of a call; how do the others end, and what is in the store afterwards?

Several sets of ranks meet their loss at the same time, each in a process group and with a checkpoint of its own, so
that the time which survivors wait for a rank that stands still is spent once for all phases.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch.distributed

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.stagers import futures
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject

# A rank that waits for one which is lost gives up after so many seconds.
GROUP_TIMEOUT = 3.0
# For what goes before the loss, however busy the machine is.
PATIENT_TIMEOUT = 60.0
OLD, NEW = 1, 2
# (ranks in the set, the one of them that is lost, phase, after the call of the storage)
Loss = tuple[int, int, str, bool]


def call_with_losses(session: Session, call: str, how: str, losses: list[Loss]) -> Attempt | str:
    """Report how `call` (save, overwrite, async_save, load) ended on this rank, whose set loses a rank.

    how: the lost rank is killed ("kill"), stopped ("stop"), or stopped until all others of its set have ended ("wake").
    A sentence where the backend does not do such a thing.
    """
    if reason := _excuse(session, call):
        return reason
    number, ranks = _set_of(session.rank, losses)
    size, victim, phase, after = losses[number]
    place, checkpoint_id = ranks.index(session.rank), session.new_id(f"set{number}")
    if call in ("overwrite", "load"):
        sound = _groups(session, losses, PATIENT_TIMEOUT)[number]
        session.save(state_of(place, OLD), checkpoint_id, process_group=sound)
        torch.distributed.barrier()
    group = _groups(session, losses, GROUP_TIMEOUT)[number]
    pids: list[Any] = [None] * session.world_size
    torch.distributed.all_gather_object(pids, os.getpid())
    fault = Fault(phase=phase, ranks=(victim,), kind="kill" if how == "kill" else "stop", after=after)
    attempt = session.attempt(_call, session, call, place, checkpoint_id, fault, group)
    if how == "wake" and place != victim:
        _wake_when_all_ended(session, number, size - 1, pids[ranks[victim]])
    return attempt


def what_loads(session: Session, losses: list[Loss], versions: tuple[int, ...]) -> list[dict[str, Any]]:
    """For each set, what a load of all that it saved gives: how it ended, and how it differs from each version."""
    found = []
    for number, (size, *_) in enumerate(losses):
        states = {version: whole(size, version) for version in versions}
        target = blank(states[versions[0]])
        attempt = session.attempt(session.load, target, session.new_id(f"set{number}"))
        unlike = {version: differences(state, target, limit=1) for version, state in states.items()}
        said = {version: [item.sentence() for item in unlike[version]] for version in versions}
        found.append({"attempt": attempt, "unlike": said})
    return found


def state_of(rank: int, version: int) -> dict[str, Any]:
    """Report what a rank of a set saves: a tensor of its own and one that all have."""
    return {f"own{rank}": coded(10 + rank, (300,), version=version), "common": coded(1, (50,), version=version)}


def whole(ranks: int, version: int) -> dict[str, Any]:
    """Report what a set of so many ranks saves."""
    return {key: item for rank in range(ranks) for key, item in state_of(rank, version).items()}


def _groups(session: Session, losses: list[Loss], timeout: float) -> list[Any]:
    """Make a process group for each set; every rank makes all of them, as torch wants it."""
    return [session.new_group(timeout, _ranks_of(each, losses)) for each in range(len(losses))]


def _excuse(session: Session, call: str) -> str:
    needed = {"async_save": "async_save", "overwrite": "crash_safe_overwrite"}.get(call, "multi_process")
    for part in (session.storage, session.engine):
        if needed in part.unsupported:
            return f"it opted out of {needed}: {part.unsupported[needed]}"
    return ""


def _call(session: Session, call: str, place: int, checkpoint_id: Any, fault: Fault, group: Any) -> None:
    if call == "load":
        reader = session.reader(checkpoint_id, faults=(fault,), rank=place)
        session.load(blank(state_of(place, OLD)), checkpoint_id, reader=reader, process_group=group)
        return
    writer = session.writer(checkpoint_id, faults=(fault,), rank=place)
    if call == "async_save":
        response = session.async_save(state_of(place, NEW), checkpoint_id, writer=writer, process_group=group)
        into_subject(futures(response)[1].result)
    else:
        session.save(state_of(place, NEW), checkpoint_id, writer=writer, process_group=group)


def _wake_when_all_ended(session: Session, number: int, others: int, stopped: int) -> None:
    """Let the stopped rank go on, on the last rank of a set whose call has ended."""
    folder = Path(session.spec.scratch)
    (folder / f"{session.spec.place}-ended{number}-{session.rank}").touch()
    if len(list(folder.glob(f"{session.spec.place}-ended{number}-*"))) == others:
        announce("woken", pid=stopped)
        os.kill(stopped, signal.SIGCONT)


def _set_of(rank: int, losses: list[Loss]) -> tuple[int, list[int]]:
    for number in range(len(losses)):
        ranks = _ranks_of(number, losses)
        if rank in ranks:
            return number, ranks
    raise LookupError(f"rank {rank} is in no set")


def _ranks_of(number: int, losses: list[Loss]) -> list[int]:
    start = sum(size for size, *_ in losses[:number])
    return list(range(start, start + losses[number][0]))
