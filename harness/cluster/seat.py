"""The driving process's view of one rank: its channel, its files, what it has said in the present run."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import Any

from dcp_conformance.harness.cluster.messages import Reply, Told
from dcp_conformance.harness.cluster.outcomes import Event
from dcp_conformance.harness.cluster.wire import MOST_BYTES, Channel, frames
from dcp_conformance.harness.cluster.worker import events_path, log_path, stack_path
from dcp_conformance.harness.plain.records import NotPlainData
from dcp_conformance.harness.plain.text import Malformed, loads

_TAIL = 8 * 1024
_MOST_EVENTS, _MOST_EVENT_BYTES = 100_000, 4 * MOST_BYTES
"""In one run; the busiest scenario of the suites tells of a few thousand."""


class Seat:
    """One rank of a world, from the outside."""

    def __init__(self, rank: int, pid: int, end: socket.socket, folder: Path, *, send_limit: float) -> None:
        self.rank = rank
        self.pid = pid
        self.channel = Channel(end, send_limit=send_limit)
        self.stack_file = stack_path(folder, rank)
        self.reply: Reply | None = None
        """What the rank answered to the last `ask`."""
        self.ending: tuple[bool, int] | None = None
        """(by its own exit, exit code or signal number), when the process has ended."""
        self.garbled = ""
        """What it did on its channel that no rank does, in words; from then on it is not listened to."""
        self._events: list[Told] = []
        self._event_bytes = 0
        self._log = os.open(log_path(folder, rank), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._events_file = events_path(folder, rank)
        self._files = (log_path(folder, rank), self.stack_file, self._events_file)

    @property
    def silent(self) -> bool:
        """Whether its answer is missing and may still come."""
        return self.reply is None and self.ending is None and not self.garbled

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
        self._event_bytes = 0
        if os.fstat(self._log).st_size:
            os.ftruncate(self._log, 0)  # ranks append, so this is safe while they have it open

    def listen(self) -> bool:
        """Take in what the rank has said; whether it was anything."""
        try:
            messages = self.channel.drain()
            for message in messages:
                self._take(message)
        except (Malformed, NotPlainData) as error:
            self._give_up(f"something that is no message of a rank: {error}")
        return not self.garbled and bool(messages)

    def _take(self, message: object) -> None:
        if isinstance(message, Told):
            self._keep(message)
        elif not isinstance(message, Reply):
            raise Malformed(f"a {type(message).__name__}")
        elif self.reply is not None:
            self._give_up("a second answer to one question")
        else:
            self.reply = message

    def _keep(self, event: Told) -> None:
        self._events.append(event)
        self._event_bytes += len(event.data)
        if len(self._events) > _MOST_EVENTS or self._event_bytes > _MOST_EVENT_BYTES:
            self._give_up(f"{len(self._events)} events of {self._event_bytes} bytes in one run")

    def _give_up(self, why: str) -> None:
        self.garbled, self.reply = self.garbled or f"on the channel of its rank came {why}"[:400], None
        self.channel.closed = True
        self._events.clear()

    def events(self, started: float) -> tuple[Event, ...]:
        """Events of this run, of the rank and of its children, by time; `started` on the monotonic clock."""
        found = sorted([*self._events, *self._events_of_children()], key=lambda event: event.at)
        try:
            return tuple(Event(event.kind, _data(event.data), event.at - started) for event in found)
        except Malformed as error:
            self._give_up(f"something that is no message of a rank: {error}")
            return ()

    def output(self) -> str:
        """Tail of what the rank and its children wrote to stdout and stderr in this run."""
        size = os.fstat(self._log).st_size
        start = max(0, size - _TAIL)
        return os.pread(self._log, size - start, start).decode(errors="replace") if size else ""

    def close(self) -> None:
        """Let go of the channel and remove the rank's files."""
        self.channel.close()
        os.close(self._log)
        for file in self._files:
            file.unlink(missing_ok=True)

    def _events_of_children(self) -> list[Told]:
        try:
            return _told_in(self._events_file)
        except FileNotFoundError:
            return []
        except (OSError, Malformed, NotPlainData) as error:
            self._give_up(f"something in {self._events_file.name} that no child of a rank writes: {error}")
            return []
        finally:
            with contextlib.suppress(OSError):  # what lies there may be anything; the world is given up then
                self._events_file.unlink(missing_ok=True)


def _told_in(path: Path) -> list[Told]:
    # Not waiting, not through a link: what lies at the place was put there by the code under test.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_EVENT_BYTES:
            raise Malformed(f"no regular file of at most {_MOST_EVENT_BYTES} bytes")
        found = list(frames(file.read(_MOST_EVENT_BYTES)))
    if not all(isinstance(event, Told) for event in found):
        raise Malformed("messages that are no events")
    return found


def _data(text: str) -> dict[str, Any]:
    try:
        found = loads(text)
    except NotPlainData as error:
        return {"not_plain_data": str(error)}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise Malformed("an event whose data are no names and values")
    return found
