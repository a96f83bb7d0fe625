"""Saving from a process of its own: the same checkpoint, also after failures, deaths and changes of the group."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from typing import Any

from dcp_conformance.harness.cluster import processes
from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.stagers import futures
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject import engine_calls
from dcp_conformance.harness.subject.session import Session, into_subject

# The first save starts a program that imports torch, on every rank.
PATIENCE = 45.0


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """With an address as torchrun sets it: without one torch asks for this machine's name, which may not resolve."""
    kept = dict(os.environ)
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    os.environ.setdefault("MASTER_PORT", "29500")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


@reachable()
def thread_and_process(session: Session) -> dict[str, list[Difference]]:
    """Report what differs after saving in a THREAD and in a PROCESS, with the engine's stagers."""
    if engine_calls.checkpointer(session, "PROCESS") is None:
        session.excuse("the engine's async_save knows no background process")
    found = {}
    for kind in ("THREAD", "PROCESS"):
        for staging in (None, "plain"):
            stager = session.stager() if staging else None
            checkpoint_id, wanted = session.new_id(f"{kind}-{staging}"), _state(session)
            _save(session, checkpoint_id, kind, async_stager=stager)
            target = blank(wanted)
            session.load(target, checkpoint_id)
            found[f"{kind}, {'stager passed' if staging else 'no stager'}"] = differences(wanted, target)
    return found


@reachable()
def after_failure_and_death(session: Session) -> dict[str, Any]:
    """Let a save fail, save again, and twice after the background process was killed; report ends and loads."""
    if engine_calls.checkpointer(session, "PROCESS") is None:
        session.excuse("the engine's async_save knows no background process")
    before = set(processes.children(os.getpid()))
    fault = Fault(phase="write_data", ranks=(0,))
    failed = session.attempt(_save, session, session.new_id("failed"), "PROCESS", faults=(fault,))
    following = session.attempt(_save, session, session.new_id("next"), "PROCESS")
    wanted = _state(session)
    target = blank(wanted)
    if following.ok:
        session.load(target, session.new_id("next"))
    daemons = [pid for pid in processes.children(os.getpid()) if pid not in before and _is_daemon(pid)]
    for pid in daemons:
        os.kill(pid, signal.SIGKILL)
    later = [session.attempt(_save, session, session.new_id(f"later{n}"), "PROCESS") for n in range(2)]
    found = differences(wanted, target) if following.ok else []
    return {"failed": failed, "next": following, "found": found, "killed": len(daemons), "later": later}


@reachable()
def without_group(session: Session) -> tuple[Attempt, list[Difference]]:
    """Save in a process of its own with no_dist, without a process group, and report what differs after a load."""
    if engine_calls.checkpointer(session, "PROCESS") is None:
        session.excuse("the engine's async_save knows no background process")
    checkpoint_id, wanted = session.new_id(), _state(session)
    ended = session.attempt(_save, session, checkpoint_id, "PROCESS", no_dist=True)
    target = blank(wanted)
    if ended.ok:
        session.load(target, checkpoint_id)
    return ended, differences(wanted, target) if ended.ok else []


@reachable()
def in_changing_groups(session: Session) -> tuple[Attempt, Attempt, list[Difference]] | None:
    """Save with ranks 1 and 2 on their group, then with each on a group of its own.

    Returns how both ended, and what differs in the own checkpoint. None on rank 0, which is outside.
    """
    if engine_calls.checkpointer(session, "PROCESS") is None:
        session.excuse("the engine's async_save knows no background process")
    groups = [session.new_group(20.0, ranks) for ranks in ([1, 2], [1], [2])]
    if session.rank == 0:
        return None
    together = session.attempt(_save, session, session.new_id("both"), "PROCESS", process_group=groups[0])
    own = groups[session.rank]
    checkpoint_id, wanted = session.new_id(f"of rank {session.rank}"), _state(session)
    alone = session.attempt(_save, session, checkpoint_id, "PROCESS", process_group=own)
    target = blank(wanted)
    loaded = session.attempt(session.load, target, checkpoint_id, no_dist=True) if together.ok and alone.ok else alone
    return together, loaded, differences(wanted, target) if loaded.ok else []


@reachable()
def many_tensors(session: Session, tensors: int, descriptors: int) -> Attempt:
    """Save many small tensors in a process of its own, under a limit of open descriptors."""
    if engine_calls.checkpointer(session, "PROCESS") is None:
        session.excuse("the engine's async_save knows no background process")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, limits[1]))
    state = {f"t{number}": coded(number, (2,), version=1) for number in range(tensors)}
    try:
        return session.attempt(_save, session, session.new_id(), "PROCESS", state=state)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@reachable()
def starting_up(session: Session) -> dict[str, Attempt]:
    """Saves whose background process cannot start: a prefix store without address, and a port that is none."""
    ended = {}
    os.environ["DCP_USE_PREFIX_STORE"] = "1"
    for missing in ("MASTER_ADDR", "MASTER_PORT"):
        kept = os.environ.pop(missing)
        ended[missing] = session.attempt(_save, session, session.new_id(missing), "PROCESS")
        os.environ[missing] = kept
    os.environ["MASTER_PORT"] = "-1"
    kind = engine_calls.checkpointer(session, "PROCESS")
    response = session.async_save(_state(session), session.new_id("port"), async_checkpointer_type=kind)
    ended["port"] = session.attempt(into_subject, futures(response)[1].result, PATIENCE)
    return ended


def _save(session: Session, checkpoint_id: Any, kind: str, **arguments: Any) -> None:
    state = arguments.pop("state", None) or _state(session)
    way = engine_calls.checkpointer(session, kind)
    response = session.async_save(state, checkpoint_id, async_checkpointer_type=way, **arguments)
    into_subject(futures(response)[1].result, PATIENCE)


def _is_daemon(pid: int) -> bool:
    return "resource_tracker" not in processes.command(pid)


def _state(session: Session) -> dict[str, Any]:
    return {f"own{session.rank}": coded(session.rank, (50,), version=1), "common": coded(99, (8,), version=1)}
