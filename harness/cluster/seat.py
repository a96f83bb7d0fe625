"""The driving process's view of one rank: its channel, its files, what it has said in the present run."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from dcp_conformance.harness.cluster.outcomes import Event
from dcp_conformance.harness.cluster.wire import Channel, NotPlainData, loads
from dcp_conformance.harness.cluster.worker import events_path, log_path, stack_path

_TAIL = 8 * 1024


class Seat:
    """One rank of a world, from the outside."""

    def __init__(self, rank: int, pid: int, end: socket.socket, folder: Path, *, send_limit: float) -> None:
        self.rank = rank
        self.pid = pid
        self.channel = Channel(end, send_limit=send_limit)
        self.stack_file = stack_path(folder, rank)
        self.reply: tuple[Any, ...] | None = None
        """What the rank answered to the last `ask`."""
        self.ending: tuple[bool, int] | None = None
        """(by its own exit, exit code or signal number), when the process has ended."""
        self._events: list[tuple[str, bytes, float]] = []
        self._log = os.open(log_path(folder, rank), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._events_file = events_path(folder, rank)
        self._files = (log_path(folder, rank), self.stack_file, self._events_file)

    @property
    def silent(self) -> bool:
        """Whether its answer is missing and may still come."""
        return self.reply is None and self.ending is None

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
        if os.fstat(self._log).st_size:
            os.ftruncate(self._log, 0)  # ranks append, so this is safe while they have it open

    def listen(self) -> bool:
        """Take in what the rank has said; whether it was anything."""
        messages = self.channel.drain()
        for kind, *rest in messages:
            if kind == "event":
                self._events.append((rest[0], rest[1], rest[2]))
            else:
                self.reply = (kind, *rest)
        return bool(messages)

    def events(self, started: float) -> tuple[Event, ...]:
        """Events of this run, of the rank and of its children, by time; `started` on the monotonic clock."""
        found = sorted([*self._events, *self._events_of_children()], key=lambda event: event[2])
        return tuple(Event(kind, _data(data), at - started) for kind, data, at in found)

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

    def _events_of_children(self) -> list[tuple[str, bytes, float]]:
        if not self._events_file.exists():
            return []
        data = self._events_file.read_bytes()
        self._events_file.unlink()
        found = []
        position = 0
        while len(data) - position >= 8:
            length = int.from_bytes(data[position : position + 8], "little")
            frame = data[position + 8 : position + 8 + length]
            if len(frame) < length:
                break  # cut short when its writer was killed
            found.append(tuple(loads(frame)))
            position += 8 + length
        return found


def _data(data: bytes) -> dict[str, Any]:
    try:
        return dict(loads(data))
    except NotPlainData as error:
        return {"not_plain_data": str(error)}
