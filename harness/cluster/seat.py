"""The driving process's view of one rank: its channel, its files, what it has said in the present run."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcp_conformance.harness.cluster.codec import NotPlainData, loads
from dcp_conformance.harness.cluster.outcomes import Event
from dcp_conformance.harness.cluster.wire import Channel
from dcp_conformance.harness.cluster.worker import events_path, log_path, stack_path

_TAIL = 8 * 1024
_MOST_EVENTS = 64 << 20  # bytes a run; scenarios of ours emit kilobytes
# What the main program of a rank sends besides events, by the types of what follows the first word.
_SHAPES: Mapping[str, tuple[type, ...]] = {
    "ready": (str, str),
    "failed": (bytes,),
    "answer": (int, str, bytes, float, tuple, bool),
    "proof": (int, list, list, tuple, list),
}


class Seat:
    """One rank of a world, from the outside."""

    def __init__(self, rank: int, pid: int, end: socket.socket, folder: Path, *, send_limit: float) -> None:
        self.rank = rank
        self.pid = pid
        self.channel = Channel(end, send_limit=send_limit)
        self.stack_file = stack_path(folder, rank)
        #: What the rank answered to the last `ask`.
        self.reply: tuple[Any, ...] | None = None
        #: (by its own exit, exit code or signal number), when the process has ended.
        self.ending: tuple[bool, int] | None = None
        #: What is wrong with what came over its channel, which only the code under test can have written.
        self.garbage = ""
        self._events: list[tuple[str, bytes, float]] = []
        self._heard = 0
        # Held open: code under test may remove or replace the file, and not this descriptor.
        self._log = os.open(log_path(folder, rank), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._events_file = events_path(folder, rank)
        self._files = (log_path(folder, rank), self.stack_file, self._events_file)

    @property
    def silent(self) -> bool:
        """Whether its answer is missing and may still come."""
        return self.reply is None and self.ending is None and not self.garbage

    def ask(self, message: tuple[Any, ...]) -> None:
        """Send a message that the rank will reply to."""
        self.reply = None
        try:
            self.channel.send(message)
        except OSError:
            return  # the process is ending: the server will say how

    def begin_run(self) -> None:
        """Forget the events and the output of earlier runs."""
        self._events.clear()
        self._heard = 0
        if os.fstat(self._log).st_size:
            os.ftruncate(self._log, 0)  # ranks append, so this is safe while they have it open

    def listen(self) -> bool:
        """Take in what the rank has said; whether it was anything."""
        try:
            messages = self.channel.drain()
            for message in messages:
                self._take(message)
        except NotPlainData as error:
            self.garbage = str(error)
            # Nothing that follows on such a channel can be trusted, nor be cut into frames.
            self.channel.closed = True
            return True
        return bool(messages)

    def _take(self, message: Any) -> None:
        if not isinstance(message, tuple) or not message:
            raise NotPlainData(f"a {type(message).__name__} in place of a message")
        if message[0] == "event":
            self._events.append(_event(message[1:]))
            # What a rank sends is kept in the memory of the judge, which must not be the rank's to fill.
            self._heard += len(message[2])
            if self._heard > _MOST_EVENTS:
                raise NotPlainData(f"more than {_MOST_EVENTS >> 20} MiB of events in one run")
        elif _SHAPES.get(message[0]) == tuple(type(item) for item in message[1:]):
            # One question, one answer: the second may be the first one's correction by the code under test.
            if self.reply is not None:
                raise NotPlainData("a second answer to one question")
            self.reply = message
        else:
            raise NotPlainData(f"a message that no rank sends: {str(message)[:80]}")

    def events(self, started: float) -> tuple[Event, ...]:
        """Return the events of this run, of the rank and of its children, by time; `started` on the monotonic clock."""
        # By the monotonic clock, which all processes of a machine share.
        found = sorted([*self._events, *self._events_of_children()], key=lambda event: event[2])
        return tuple(Event(kind, _data(data), at - started) for kind, data, at in found)

    def output(self) -> str:
        """Return the tail of what the rank and its children wrote to stdout and stderr in this run."""
        size = os.fstat(self._log).st_size
        start = max(0, size - _TAIL)
        return os.pread(self._log, size - start, start).decode(errors="replace") if size else ""

    def close(self) -> None:
        """Let go of the channel and remove the rank's files."""
        self.channel.close()
        os.close(self._log)
        for file in self._files:
            file.unlink(missing_ok=True)

    def _events_of_children(self) -> list[tuple[str, bytes, float]]:
        data = _read_regular(self._events_file)
        found = []
        position = 0
        while len(data) - position >= 8:
            length = int.from_bytes(data[position : position + 8], "little")
            frame = data[position + 8 : position + 8 + length]
            if len(frame) < length:
                break  # cut short when its writer was killed
            with contextlib.suppress(NotPlainData):  # children of a rank write what they like into their file
                found.append(_event(loads(frame)))
            position += 8 + length
        return found


def _event(parts: Any) -> tuple[str, bytes, float]:
    if isinstance(parts, tuple) and tuple(map(type, parts)) == (str, bytes, float):
        return parts
    raise NotPlainData(f"an event that is none: {str(parts)[:80]}")


def _read_regular(path: Path) -> bytes:
    """Return the beginning of a file that may be anything by now: a FIFO, a link, endless. It is removed."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, _MOST_EVENTS) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    finally:
        os.close(file)
        with contextlib.suppress(OSError):
            path.unlink()


def _data(data: bytes) -> dict[str, Any]:
    try:
        found = loads(data)
    except NotPlainData as error:
        return {"not_plain_data": str(error)}
    return found if isinstance(found, dict) else {"not_plain_data": f"a {type(found).__name__}"}
