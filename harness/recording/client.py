"""The rank's side of the recorder: put this process under the filter, once and for good, and talk to the supervisor."""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from dcp_conformance import IMPORT_ROOT
from dcp_conformance.harness.recording import interposer, kernel, syscalls
from dcp_conformance.harness.recording.address import short
from dcp_conformance.harness.recording.policy import Rule, encoded

_START = """
import sys; sys.path.insert(0, sys.argv[2])
from dcp_conformance.harness.recording.supervisor import main
main(sys.argv[1])
"""
_PATIENCE = 30.0  # seconds for a supervisor to begin, and for the other ranks to come


class RecorderError(Exception):
    """The recorder cannot be used here; the text says why."""


class Watching:
    """One job that is being watched; `path`: where its recording will be, "" for none; `means`: how it is seen."""

    def __init__(self, link: Link, path: str) -> None:
        self._link, self.path, self.means = link, path, link.means
        self.operations = 0
        self.blind = ""
        #: Of a watch over what is read: what was read that is not below the folder, in the order of the first time.
        self.elsewhere: list[str] = []

    def mark(self, text: str) -> None:
        """Note in the recording that something has happened by now."""
        self._link.ask("mark", text=text)

    def returned(self) -> None:
        """Note that the call which is recorded has returned on this rank."""
        self.mark(f"returned on rank {self._link.rank}")

    def faults(self, *rules: Rule) -> None:
        """Set these rules, with new counts, in place of any others; none: no faults."""
        self._link.ask("policy", rules=encoded(rules))

    def reached(self) -> dict[int, int]:
        """Return how often each rule has acted, by its place among those given.

        Rules that never acted are not in it.
        """
        answer = self._link.ask("reached")["reached"]
        return {int(place): count for place, count in answer.items()}


class Link:
    """This process and its connection to the supervisor at `address`.

    Under the filter if the kernel takes it, and if `python` does not ask for the other means.
    """

    def __init__(self, address: str, rank: int, *, start: bool, python: bool = False, reads: bool = False) -> None:
        self._reads = reads
        self.rank, self.process, self._lock = rank, os.getpid(), threading.Lock()
        if start:
            _start(address)
        self._socket = _connected(address)
        self.means, self.reason = interposer.MEANS, "it was asked for"
        if not python:
            self.reason = self._under_filter()
        if self.reason:
            self.ask("greet", number=rank)
        else:
            self.means = kernel.MEANS

    def _under_filter(self) -> str:
        """Put this process under the filter; why that is not possible, "" when it is done."""
        if not syscalls.numbers() or not kernel.is_new_enough():
            return "the kernel is too old, or of another kind"
        # The kernel's word for who is at the other end: the supervisor may have been started by another rank.
        pid = struct.unpack("3i", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        # Made before the filter is on: a call that changes files would wait for an answer that nobody can give yet.
        greeting = json.dumps({"do": "greet", "number": self.rank}).encode()
        descriptors = array.array("i", [0])
        try:
            lines = syscalls.reading_program() if self._reads else syscalls.program()
            listener = kernel.install_filter(pid, lines)
        except OSError as error:
            return f"the kernel does not take the filter: {error}"
        # From here on every call of this process that changes files waits for the supervisor: nothing may come before
        # it has the listener, not even a close.
        descriptors[0] = listener
        self._socket.sendmsg([greeting], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        self._answer()
        os.close(listener)
        return ""

    @contextlib.contextmanager
    def watch_reads(self, folder: str, *, since: float, own: str) -> Iterator[Watching]:
        """Watch what this process reads that is younger than `since` (seconds since the epoch) and not below a folder.

        own: a folder of the harness, whose files are no matter. RecorderError where the kernel does not show it.
        """
        if self.reason:
            raise RecorderError(self.reason)
        self.ask("begin", watched=folder, world=1, thread=threading.get_native_id(), keep=False, means=self.means,
                 since=since, own=own)  # fmt: skip
        watching = Watching(self, "")
        try:
            yield watching
        finally:
            watching.elsewhere = self.ask("end", path="")["elsewhere"]

    @contextlib.contextmanager
    def watch(self, folder: str, *, world: int, path: str = "") -> Iterator[Watching]:
        """Watch what is done below a folder, from the moment when all `world` ranks have come here.

        path: where the last rank's leaving puts the recording; the same on all ranks. OSError, RecorderError.
        """
        # The thread is told by the kernel's number, under which its calls will come.
        self.ask("begin", watched=folder, world=world, thread=threading.get_native_id(), keep=bool(path),
                 means=self.means)  # fmt: skip
        watching = Watching(self, path)
        # After "begin": its answer says that all ranks are here, and only from then on are calls the job's.
        seen = interposer.Interposer(self.ask, folder).in_place() if self.reason else contextlib.nullcontext()
        try:
            with seen:
                yield watching
        finally:
            found = self.ask("end", path=path)
            watching.operations, watching.blind = found["operations"], found["blind"]
            _close_spare(found["spare"])

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        """Ask the supervisor for something and wait for the answer."""
        # Threads of the backend reach this through the interposer; two questions at once would get each other's
        # answers.
        with self._lock:
            self._socket.sendall(json.dumps({"do": what, **details}).encode())
            return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            text = self._socket.recv(1 << 20)
        except TimeoutError:
            raise RecorderError(f"the other ranks did not come within {_PATIENCE:.0f} s") from None
        if not text:
            raise RecorderError("the recorder's supervisor has ended")
        answer: dict[str, Any] = json.loads(text)
        if "error" in answer:
            raise RecorderError(answer["error"])
        return answer


class _Here:
    """The link of this process; a filter cannot be taken off, so there is one at most."""

    link: Link | None = None


def link(address: str, rank: int, *, start: bool, python: bool = False, reads: bool = False) -> Link:
    """Return the link of this process, which the first call makes.

    address: a path for a socket, the same on all ranks; start: whether this rank starts the supervisor there; python:
    by the lesser means, even if the kernel takes a filter; reads: for what is read, and not for what is changed.
    """
    # A forked child has the parent's socket and must not speak on it.
    if _Here.link is None or _Here.link.process != os.getpid():
        _Here.link = Link(address, rank, start=start, python=python, reads=reads)
    return _Here.link


def _close_spare(numbers: list[int]) -> None:
    """Close what was put in the place of files whose close failed; a number may be another file's by now."""
    for number in numbers:
        with contextlib.suppress(OSError):  # somebody closed it twice
            # Only what is still the stand-in: a number that the process has opened anew is its own.
            if os.readlink(f"/proc/self/fd/{number}") == os.devnull:
                os.close(number)


def _start(address: str) -> None:
    # Isolated: nothing in the author's environment or current folder may be imported by the process that all calls wait
    # for.
    words = [sys.executable, "-I", "-c", _START, address, str(IMPORT_ROOT)]
    # In a session of its own: it must outlive this rank for as long as any other is under its filter.
    subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)


def _connected(address: str) -> socket.socket:
    deadline = time.monotonic() + _PATIENCE
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with short(address) as place:
                connection.connect(place)
        except OSError as error:
            connection.close()
            if time.monotonic() > deadline:
                raise RecorderError(f"no supervisor at {address}: {error}") from error
            time.sleep(0.005)
        else:
            connection.settimeout(_PATIENCE)
            return connection
