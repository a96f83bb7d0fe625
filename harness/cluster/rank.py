"""What a function sees while it runs on a rank: who it is, and a way to tell what happens as it happens."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dcp_conformance.harness.cluster.codec import NotPlainData, dumps
from dcp_conformance.harness.cluster.wire import Channel

#: Environment variable that names the file into which children of a rank write their events.
CHILD_EVENTS = "DCP_CONFORMANCE_RANK_EVENTS"


@dataclass(frozen=True, kw_only=True)
class RankInfo:
    """The rank a function runs on."""

    rank: int
    world_size: int
    #: A default process group was set up.
    group: bool
    #: `cpu`, or `cuda:N`, `sim:N`, ...: the device of this rank, possibly shared with other ranks.
    device: str
    #: Backend of the default process group, empty without one.
    backend: str
    #: Folder of the world, the same on all its ranks.
    folder: str
    #: Number of this run in this world, from 1.
    run: int


class _Here:
    """State of this process, if it is a rank."""

    info: RankInfo | None = None
    channel: Channel | None = None
    pid = 0
    lock = threading.RLock()


def current() -> RankInfo:
    """Return the rank this code runs on.

    Raises:
        RuntimeError: it does not run on a rank.
    """
    # A fork of a rank has its memory and is no rank: two processes must not speak on one channel.
    if _Here.info is None or _Here.pid != os.getpid():
        raise RuntimeError("this code does not run on a rank of a cluster")
    return _Here.info


def emit(kind: str, **data: Any) -> None:
    """Tell the driving process at once that something happened (plain data only), so that it survives SIGKILL.

    Works in every thread of a rank and in the processes that a rank starts, however they were started.

    Raises:
        RuntimeError: this process is neither a rank nor started by one.
    """
    event = (kind, _encoded(data), time.monotonic())
    if _Here.pid == os.getpid() and _Here.channel is not None:
        with _Here.lock:
            _Here.channel.send(("event", *event))
        return
    path = os.environ.get(CHILD_EVENTS)
    if path is None:
        raise RuntimeError("emit() was called in a process that no rank of a cluster started")
    frame = dumps(event)
    # One write to a file opened for appending is not torn by the writes of other processes.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, len(frame).to_bytes(8, "little") + frame)
    finally:
        os.close(file)


def _encoded(data: Mapping[str, Any]) -> bytes:
    try:
        return dumps(data)
    except NotPlainData as error:
        return dumps({"not_plain_data": str(error)})


def become(info: RankInfo, channel: Channel) -> None:
    """Make this process the rank (called once by the rank's own main program)."""
    _Here.info, _Here.channel, _Here.pid = info, channel, os.getpid()


def stand_in(info: RankInfo) -> None:
    """Let code that asks for its rank run in a program that a rank started; events go the way of such programs."""
    _Here.info, _Here.channel, _Here.pid = info, None, os.getpid()


def begin_run(number: int) -> None:
    """Number the run that starts now."""
    _Here.info = replace(current(), run=number)


def answer(message: tuple[Any, ...]) -> None:
    """Send a message of the rank's main program, in line with the events of its threads."""
    if _Here.channel is not None:
        with _Here.lock:
            _Here.channel.send(message)
