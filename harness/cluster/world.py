"""A world: warm ranks with one process group, driven through numbered runs and proven clean after each."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dcp_conformance.harness.cluster import processes
from dcp_conformance.harness.cluster.answers import exception_in, outcome_of, tell_ending
from dcp_conformance.harness.cluster.config import ClusterConfig
from dcp_conformance.harness.cluster.errors import ClusterError
from dcp_conformance.harness.cluster.functions import FunctionName
from dcp_conformance.harness.cluster.launch import ForkServer
from dcp_conformance.harness.cluster.outcomes import Doubt, Outcome, Returned
from dcp_conformance.harness.cluster.seat import Seat
from dcp_conformance.harness.cluster.watch import Watch, look_at
from dcp_conformance.harness.cluster.worker import RankSpec

_START_LIMIT = 120.0
_PROOF_QUIET = 1.0
_PROOF_LIMIT = 20.0
_SEND_LIMIT = 30.0
# A kind of thread, process or file that stayed after so many runs is the backend's for good, and not waited for.
_OFTEN = 3


@dataclass(frozen=True)
class Job:
    """What to run on every rank."""

    name: FunctionName
    #: Pickle of the positional arguments.
    arguments: bytes
    #: Seconds after which the run is a hang in any case.
    limit: float
    #: Seconds without a sign of life before it is one, where these are more than the world's own limit.
    quiet: float = 0.0


class World:
    """Ranks that run functions together. After any doubt about them: `discard`, and make another world."""

    def __init__(
        self, server: ForkServer, number: int, *, size: int, group: bool, config: ClusterConfig, lasting: Counter[str]
    ) -> None:
        """lasting: counts, by kind, of what stayed behind after earlier runs. The world adds what it sees."""
        self.size = size
        self._lasting = lasting
        self.folder = config.folder.absolute() / f"world-{os.getpid()}-{number}"
        self._server = server
        self._number = number
        self._group = group
        self._config = config
        self._runs = 0
        self._poll = select.epoll()
        self._seats: list[Seat] = []
        self._by_fd: dict[int, Seat] = {}
        try:
            self._start()
        except BaseException:
            with contextlib.suppress(ClusterError):  # the first error says what happened
                self.discard()
            raise

    @property
    def pids(self) -> list[int]:
        """Process ids by rank."""
        return [seat.pid for seat in self._seats]

    def is_alive(self) -> bool:
        """Tell whether no rank has ended since its last run."""
        self._server.pump()
        return not any(seat.pid in self._server.endings for seat in self._seats)

    def run(self, job: Job, *, known_pids: set[int], prove: bool) -> tuple[list[Outcome], bool]:
        """Run a function on every rank; (outcomes by rank, whether the world is proven clean)."""
        self._runs += 1
        for seat in self._seats:
            # All of them before any is asked: a fast rank's first event must not be wiped by a slow loop.
            seat.begin_run()
        started = time.monotonic()
        self._ask(("run", self._runs, job.name.module, job.name.qualname, job.name.file, job.arguments))
        silent = self._gather(quiet=max(job.quiet, self._config.quiet_limit), total=job.limit)
        waited = time.monotonic() - started
        # All at once: by the time one stack was written, what the others waited for may have moved on.
        silences = dict(zip(silent, look_at([(seat.pid, seat.stack_file) for seat in silent]), strict=True))
        outcomes = [
            outcome_of(seat, name=job.name, started=started, waited=waited, silence=silences.get(seat))
            for seat in self._seats
        ]
        # A rank that raised may have left the others inside a collective; such a world is not worth the time of a
        # proof.
        if not prove or not all(isinstance(outcome, Returned) for outcome in outcomes):
            return outcomes, False
        leftovers = self._leftovers(known_pids)
        told = [
            replace(outcome, leftovers=tuple(left), doubts=(*outcome.doubts, *self._doubts(outcome.rank)))
            for outcome, left in zip(outcomes, leftovers, strict=True)
        ]
        return told, not any(outcome.leftovers or outcome.doubts for outcome in told)

    def discard(self) -> None:
        """End the ranks and everything they started; returns when they are gone."""
        seats, self._seats = self._seats, []
        idle = [seat for seat in seats if seat.reply is not None] if self._config.coverage else []
        for seat in idle:
            seat.ask(("exit",))  # ranks that are killed lose their coverage data
        try:
            self._server.discard(self._number, [seat.pid for seat in seats], leaving=[seat.pid for seat in idle])
        finally:
            self._poll.close()
            for seat in seats:
                seat.close()
            self.folder.joinpath("store").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # a function has put files of its own there
                self.folder.rmdir()

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        pairs = [socket.socketpair() for _ in range(self.size)]
        specs = [self._spec(rank) for rank in range(self.size)]
        try:
            pids = self._server.fork(self._number, specs, [theirs for _ours, theirs in pairs])
        except BaseException:
            for ours, _theirs in pairs:
                ours.close()
            raise
        finally:
            for _ours, theirs in pairs:
                # The rank has its copy: with ours open too, its end would never show as the end of the stream.
                theirs.close()
        for rank, (ours, _theirs) in enumerate(pairs):
            seat = Seat(rank, pids[rank], ours, self.folder, send_limit=_SEND_LIMIT)
            self._seats.append(seat)
            self._by_fd[ours.fileno()] = seat
            self._poll.register(ours, select.EPOLLIN)
        # In the same poll: the end of a rank is told by the server, and must not wait for a rank to speak.
        self._poll.register(self._server.channel, select.EPOLLIN)
        silent = self._gather(quiet=_START_LIMIT, total=_START_LIMIT)
        self._check_ready(silent)

    def _spec(self, rank: int) -> RankSpec:
        config = self._config
        return RankSpec(
            rank=rank,
            world_size=self.size,
            group=self._group,
            device=config.device,
            folder=str(self.folder),
            group_timeout=config.group_timeout,
            settle_limit=config.settle_limit,
        )

    def _check_ready(self, silent: Sequence[Seat]) -> None:
        for seat in self._seats:
            if seat.reply is not None and seat.reply[0] == "ready":
                continue
            if seat in silent:
                how = f"did not start in {_START_LIMIT:g} s"
            elif seat.garbage:
                how = f"sent {seat.garbage} at its start"
            elif seat.reply is not None:
                how = f"could not start: {exception_in(seat.reply[1]).traceback}"
            else:
                how = f"ended at its start ({tell_ending(seat.ending)})"
            raise ClusterError(f"rank {seat.rank} of {self.size} {how}\n{seat.output()}")

    def _ask(self, message: tuple[object, ...]) -> None:
        for seat in self._seats:
            seat.ask(message)

    def _gather(self, *, quiet: float, total: float) -> list[Seat]:
        """Wait until every rank has replied or ended; the ranks that did neither when the world was found hung."""
        watch = Watch(self.pids, quiet=quiet, total=total)
        while silent := [seat for seat in self._seats if seat.silent]:
            ready = self._poll.poll(watch.pause)
            for fd, _events in ready:
                self._listen(fd, watch)
            self._note_endings()
            if watch.out_of_time() or (not ready and watch.is_hung([seat.pid for seat in silent])):
                return [seat for seat in self._seats if seat.silent]
        return []

    def _listen(self, fd: int, watch: Watch) -> None:
        seat = self._by_fd.get(fd)
        if seat is None:
            self._server.pump()
            return
        if seat.listen():
            watch.heard()
        if seat.channel.closed:
            # A closed socket is always ready, and would keep the loop from ever looking at its clock.
            self._poll.unregister(fd)

    def _note_endings(self) -> None:
        for seat in self._seats:
            if seat.ending is None and seat.pid in self._server.endings:
                seat.listen()  # what it said before it ended may still lie in the socket
                seat.ending = self._server.endings[seat.pid]

    def _leftovers(self, known_pids: set[int]) -> list[list[str]]:
        """Return what each rank left behind, in sentences; nothing at all is the proof that the world is as it was."""
        # Also where every rank said that it is clean: the code under test may have said so in a rank's place.
        leftovers = self._prove()
        leftovers[0].extend(
            f"The process {pid} ({processes.command(pid)}), started by a rank, is still running without its parent."
            for pid in self._server.orphans(known_pids)
        )
        return leftovers

    def _doubts(self, rank: int) -> tuple[Doubt, ...]:
        """Return what came to light about a rank's evidence after it had answered."""
        seat = self._seats[rank]
        if seat.garbage:
            return (Doubt("garbled", seat.garbage),)
        if seat.reply is None or seat.reply[0] != "proof":
            return ()
        return tuple(Doubt("changed", str(what)) for what in seat.reply[4])

    def _prove(self) -> list[list[str]]:
        lasting = [kind for kind, times in self._lasting.items() if times >= _OFTEN]
        self._ask(("prove", self._runs, lasting))
        quiet = max(_PROOF_QUIET, 2 * self._config.settle_limit)
        silent = self._gather(quiet=quiet, total=_PROOF_LIMIT + quiet)
        for seat in self._seats:
            if seat.reply is not None and seat.reply[0] != "proof":
                seat.garbage, seat.reply = "a second answer to one question", None
            if seat.reply is not None:
                self._lasting.update(seat.reply[-1])
        return [self._told_by(seat, seat in silent) for seat in self._seats]

    def _told_by(self, seat: Seat, silent: bool) -> list[str]:
        found = []
        if seat.reply is not None:
            _kind, _number, numbers, differences, _changed, _newcomers = seat.reply
            found.extend(differences)
            if numbers and set(numbers) != {self._runs}:
                found.append(f"A collective is left over: the barrier after run {self._runs} gathered {numbers}.")
            if not numbers and self._group and not differences:
                found.append("The default process group is gone.")
        if silent:
            found.append("A collective is left over: the barrier after the run did not complete.")
        if seat.garbage:
            found.append(f"Its channel to the harness carried {seat.garbage}.")
        if seat.ending is not None:
            found.append(f"The process ended after it had answered ({tell_ending(seat.ending)}).")
        return found
