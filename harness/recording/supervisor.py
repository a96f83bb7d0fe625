"""The process that answers: for all ranks of a job, one call after the other, in the order in which they came.

It is never under the filter itself, and ends when no process is left that is. Ranks talk to it over a socket in JSON
(see harness.recording.client); a filter's listener comes along with the greeting.
"""

from __future__ import annotations

import array
import contextlib
import heapq
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dcp_conformance.harness.recording import calls, kernel, policy, syscalls
from dcp_conformance.harness.recording.address import short
from dcp_conformance.harness.recording.caller import Caller
from dcp_conformance.harness.recording.job import Job
from dcp_conformance.harness.recording.pending import Pending
from dcp_conformance.harness.recording.reads import Reads

_GREETING_LIMIT = 60.0  # seconds after which a supervisor that nobody came to ends
_CLOSED = select.POLLHUP | select.POLLERR | select.POLLNVAL


@dataclass
class _Rank:
    """One connection."""

    socket: socket.socket
    rank: int = -1
    begun: bool = False
    ended: bool = False


class Supervisor:
    """Serves ranks until none is left."""

    def __init__(self, path: str) -> None:
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with short(path) as place:
            self._server.bind(place)
        self._server.listen(64)
        self._poll = select.poll()
        self._poll.register(self._server, select.POLLIN)
        self._ranks: dict[int, _Rank] = {}
        self._listeners: dict[int, int] = {}  # listener -> rank
        self._names = {number: name for name, number in syscalls.numbers().items()}
        self._own = Caller(os.getpid())
        self._job: Job | None = None
        self._late: list[tuple[float, int, Callable[[], None]]] = []
        self._devnull = os.open(os.devnull, os.O_RDWR)
        self._greeted = False
        self._path = ""

    def serve(self) -> None:
        """Until every process under a filter has ended."""
        began = time.monotonic()
        # Not before the last listener is gone: a process under a filter without a supervisor gets ENOSYS from every
        # such call.
        while self._ranks or self._listeners or not self._greeted:
            for descriptor, what in self._poll.poll(self._patience()):
                self._ready(descriptor, what)
            self._run_late()
            if not self._greeted and time.monotonic() - began > _GREETING_LIMIT:
                return

    def _patience(self) -> float:
        if self._late:
            return max(0.0, self._late[0][0] - time.monotonic()) * 1000
        return 1000.0

    def _run_late(self) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            heapq.heappop(self._late)[2]()

    def _ready(self, descriptor: int, what: int) -> None:
        if descriptor == self._server.fileno():
            connection, _ = self._server.accept()
            self._ranks[connection.fileno()] = _Rank(connection)
            self._poll.register(connection, select.POLLIN)
        elif descriptor in self._ranks:
            self._hear(self._ranks[descriptor])
        elif descriptor in self._listeners:
            # Asked before "closed": the last call of the last process may arrive together with its end.
            if what & select.POLLIN:
                self._answer(descriptor)
            elif what & _CLOSED:  # no process is under this filter any more
                self._poll.unregister(descriptor)
                del self._listeners[descriptor]
                os.close(descriptor)

    # -- what ranks ask ----------------------------------------------------------------------------------------------

    def _hear(self, rank: _Rank) -> None:
        try:
            text, ancillary, _, _ = rank.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        # A rank that was killed is like one that hung up.
        except ConnectionError:
            text, ancillary = b"", []
        if not text:
            self._forget(rank)
            return
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._adopt(array.array("i", data[:4])[0], json.loads(text)["number"])
        request = json.loads(text)
        reply = getattr(self, f"_do_{request.pop('do')}")(rank, **request)
        if reply is not None:
            self._tell(rank, reply)

    def _adopt(self, listener: int, rank: int) -> None:
        self._listeners[listener] = rank
        kernel.wake_up_at_once(listener)
        self._poll.register(listener, select.POLLIN)
        self._greeted = True

    def _tell(self, rank: _Rank, reply: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the rank died while it waited
            rank.socket.send(json.dumps(reply).encode())

    def _forget(self, rank: _Rank) -> None:
        self._poll.unregister(rank.socket)
        del self._ranks[rank.socket.fileno()]
        rank.socket.close()
        if rank.begun and not rank.ended and self._job is not None:
            self._job.mark(f"rank {rank.rank} is gone")
            rank.ended = True
            self._finish_if_all_ended()

    def _do_greet(self, rank: _Rank, *, number: int) -> dict[str, Any]:
        rank.rank, self._greeted = number, True
        return {"ok": True}

    def _do_begin(
        self, rank: _Rank, *, watched: str, world: int, thread: int, keep: bool, means: str, since: float = 0.0,
        own: str = "",
    ) -> None:  # fmt: skip
        """Hold each rank until all have come: what one of them does before is none of the job's operations."""
        rank.begun, rank.ended = True, False
        if self._job is None:
            try:
                self._job = Job(os.path.realpath(watched), keep=keep, means=means)
                if since:
                    self._job.reads = Reads(since=since, lawful=(self._job.watched, os.path.realpath(own)))
            except OSError as error:
                self._tell(rank, {"error": f"{watched} cannot be read: {error}"})
                return
        self._job.begin_rank(rank.rank, thread)
        waiting = [other for other in self._ranks.values() if other.begun]
        if len(waiting) == world:
            for other in waiting:
                self._tell(other, {"ok": True})

    def _do_mark(self, rank: _Rank, *, text: str) -> dict[str, Any]:
        if self._job is not None:
            self._job.mark(text)
        return {"ok": self._job is not None}

    def _do_policy(self, rank: _Rank, *, rules: list[dict[str, Any]]) -> dict[str, Any]:
        if self._job is None:
            return {"error": "faults are for a job that has begun"}
        self._job.policy = policy.Policy(policy.decoded(rules))
        self._job.count_threads_anew()
        return {"ok": True}

    def _do_reached(self, rank: _Rank) -> dict[str, Any]:
        return {"reached": {} if self._job is None else dict(self._job.policy.reached)}

    def _do_fault(self, rank: _Rank, *, call: str, path: str, thread: int) -> dict[str, Any]:
        """Answer what a call that Python saw is to meet; a rank is killed from here."""
        if self._job is None:
            return {"action": ""}
        found = self._job.policy.fault(call, rank.rank, self._job.thread(rank.rank, thread), path)
        if found is not None and found.action == "kill":
            os.kill(_process_of(rank.socket), signal.SIGKILL)
        return {"action": ""} if found is None else policy.encoded([found])[0]

    def _do_note(self, rank: _Rank, *, call: str, path: str, thread: int, details: dict[str, Any]) -> dict[str, Any]:
        """Take in a call that Python saw, after it was made."""
        if self._job is not None:
            self._job.add_told(rank=rank.rank, thread=thread, call=call, path=path, details=details)
        return {"ok": self._job is not None}

    def _do_end(self, rank: _Rank, *, path: str) -> None:
        rank.ended = True
        self._path = path
        self._finish_if_all_ended()

    def _finish_if_all_ended(self) -> None:
        taking_part = [rank for rank in self._ranks.values() if rank.begun]
        if self._job is None or not all(rank.ended for rank in taking_part):
            return
        job, self._job = self._job, None
        if taking_part:
            job.finish(self._path)
        for rank in taking_part:
            rank.begun = False
            spare = job.spare.get(_process_of(rank.socket), [])
            found = {"operations": len(job.operations), "blind": "; ".join(job.blind), "spare": spare}
            self._tell(rank, found | {"elsewhere": [] if job.reads is None else list(job.reads.elsewhere)})

    # -- what their calls ask ----------------------------------------------------------------------------------------

    def _answer(self, listener: int) -> None:
        call = kernel.receive(listener)
        if call is None:
            return
        if self._job is None:
            # Between two recordings the filter stays, so every call has to be let through.
            kernel.proceed(listener, call)
            return
        caller, job = Caller(call.thread), self._job
        if job.reads is not None:
            job.reads.note(self._names[call.number], caller, call.arguments)
            kernel.proceed(listener, call)
            return
        try:
            plan = calls.planned(self._names[call.number], job, caller, call.arguments)
            # Only where it touches the folder: what other processes do elsewhere is nobody's business here.
            if plan is not None and not caller.has_rights_of(self._own):
                job.lost_sight("a process with other rights than the recorder's changed files")
        except OSError as error:
            # It may have ended meanwhile; if it has not, its calls cannot be read here.
            if os.path.exists(f"/proc/{call.thread}"):
                job.lost_sight(f"a call could not be read: {error}")
            plan = None
        if plan is None:
            kernel.proceed(listener, call)
            return
        try:
            # Stores through mappings come before the call that is about to happen, or they would be noted after what
            # they preceded.
            job.catch_up()
            if plan.call == "map":
                found, file = plan.details["found"], plan.details["file"]
                job.mappings.add(caller, self._listeners[listener], call.arguments[4], found, file, plan.path)
                kernel.proceed(listener, call)
                return
            details = plan.details
            job.mappings.follow(plan.call, details.get("file", -1), details.get("offset", 0), details.get("data", b""))
            self._decide(Pending(listener, self._listeners[listener], call, caller, job, plan, self._devnull))
        except Exception as error:  # whatever it is: a supervisor that ended would make every call of the ranks fail
            job.lost_sight(f"a call could not be answered as it should be: {type(error).__name__}: {error}")
            kernel.proceed(listener, call)

    def _decide(self, pending: Pending) -> None:
        plan, job = pending.plan, pending.job
        fault = job.policy.fault(plan.call, pending.rank, pending.thread, plan.path)
        if fault is None:
            pending.perform()
        elif fault.action == "slow":
            # Not by sleeping: the other ranks' calls wait for the same process. The id keeps the heap from comparing
            # functions.
            heapq.heappush(self._late, (time.monotonic() + fault.seconds, pending.call.id, pending.perform))
        elif fault.action == "kill":
            # No answer is sent: the process dies at the entry of the call, so the call is not made.
            os.kill(pending.caller.process, signal.SIGKILL)
        elif fault.action == "short":
            pending.shorten()
        else:
            pending.fail(fault.errno)


def _process_of(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[0])


def main(address: str) -> None:
    """Serve at a socket that is made at `address`, until nobody is left."""
    os.umask(0)  # the callers' masks are applied to what is made for them
    Supervisor(address).serve()
