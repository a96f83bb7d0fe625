"""The fork server: a program of its own that imports torch once and forks ranks from itself.

It has one thread and no process group, ever. It adopts the orphans of its ranks, so that everything a rank started
can be found and killed. When the process that drives it goes away, it kills everything below it and ends.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dcp_conformance.harness.cluster import guard, measure, processes, worker
from dcp_conformance.harness.cluster.branch import listen
from dcp_conformance.harness.cluster.preload import Preloaded, UnfitToFork, freeze, preload_after_trial, preload_trusted
from dcp_conformance.harness.cluster.wire import Channel
from dcp_conformance.harness.cluster.worker import RankSpec

_KILL_LIMIT = 10.0
_EXIT_LIMIT = 5.0


@dataclass
class _Rank:
    world: int
    ended: bool = False


def main(control_fd: int, driver: int) -> NoReturn:
    """Run the server on this socket for the driving process with this id."""
    server = _Server(Channel(socket.socket(fileno=control_fd)), driver)
    try:
        server.run()
    except BaseException:  # the driving process reads this in the log and reports it
        traceback.print_exc()
        server.end(1)
    server.end(0)


class _Server:
    def __init__(self, channel: Channel, driver: int) -> None:
        self._channel = channel
        self._driver = driver
        self._ranks: dict[int, _Rank] = {}
        self._branches: set[int] = set()
        self._nursery: socket.socket | None = None
        self._ready: tuple[Any, ...] = ()
        self._late: tuple[str, ...] = ()
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        # A poll goes on after the handler of a signal has run (PEP 475): only bytes in a socket end it.
        self._wake, self._wake_writer = socket.socketpair()

    def run(self) -> None:
        """Preload, then serve until the driving process hangs up."""
        processes.adopt_orphans()
        self._listen_to_signals()
        wanted = self._channel.receive()
        # A branch was forked with everything imported; it only takes over its own log.
        if not self._ready:
            self._preload(wanted)
        else:
            _log_to(wanted["log"])
        # Not before it has preloaded, or branches would be forked from half a server.
        if wanted["nursery"] is not None and self._ready[0] == "ready":
            self._nursery = listen(Path(wanted["nursery"]))
        self._channel.send(self._ready)
        self._serve()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        if self._nursery is not None:
            poll.register(self._nursery, select.POLLIN)
        while not self._channel.closed:
            poll.poll()
            self._reap()
            self._take_in()
            for kind, *rest in self._channel.drain():
                if kind == "close":
                    return
                if kind == "ping":
                    self._channel.send(("pong",))
                elif kind == "fork":
                    self._fork(*rest)
                else:
                    self._discard(*rest)

    def _listen_to_signals(self) -> None:
        for end in (self._wake, self._wake_writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # its arrival wakes the poll
        # Ctrl-C in a terminal is the driving process's to handle, which then hangs up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self.end(0))
        # The kernel sends the parent-death signal when the *thread* that started us ends, so the handler looks.
        signal.signal(signal.SIGHUP, lambda *_: self._end_if_abandoned())
        processes.die_with_parent(signal.SIGHUP)
        self._end_if_abandoned()

    def _end_if_abandoned(self) -> None:
        # Also true of a driver that ended before the death signal was asked for.
        if os.getppid() != self._driver:
            self.end(0)

    def _preload(self, wanted: dict[str, Any]) -> None:
        result = Preloaded(refused=dict(wanted["refused"]), late=list(wanted["late"]))
        try:
            preload_trusted(wanted["preload"], result)
            # Ours before the backend's: what the guard seals must not have been touched by code under test.
            _import_rank_modules(result)
            guard.seal()  # before the code under test is there
            if wanted["coverage"]:
                measure.start()
            preload_after_trial(wanted["optional_preload"], result)
        except UnfitToFork as error:
            self._ready = ("unfit", error.module, error.reason)
            return
        freeze()
        self._late = tuple(result.late)
        self._ready = ("ready", result.modules, result.refused)

    def _take_in(self) -> None:
        """Fork a branch for each driving process that has come to the nursery."""
        while self._nursery is not None:
            try:
                end, _address = self._nursery.accept()
            except BlockingIOError:
                return
            with end:
                pid = os.fork()
                if pid == 0:
                    self._become_branch(Channel(end))
                self._branches.add(pid)

    def _become_branch(self, channel: Channel) -> NoReturn:
        """Become a server like this one, with nothing of it but its modules, for the process behind `channel`."""
        parent = self._pid
        self._pid = os.getpid()  # from here on `end` ends this process, and not what its parent answers for
        try:
            os.setsid()
            self._close_ends()
            self._channel, self._driver, self._nursery, self._ranks, self._branches = channel, parent, None, {}, set()
            self._begin()
            channel.send(("branch", self._pid))
            self.run()
        except BaseException:  # as in main
            traceback.print_exc()
            self.end(1)
        self.end(0)

    def _fork(self, world: int, specs: list[RankSpec]) -> None:
        fds = self._channel.take_fds(len(specs))
        pids = []
        for spec, own in zip(specs, fds, strict=True):
            pid = os.fork()
            if pid == 0:
                self._become_rank(spec, own, fds)
            self._ranks[pid] = _Rank(world)
            pids.append(pid)
        for fd in fds:
            os.close(fd)
        self._channel.send(("forked", world, pids))

    def _become_rank(self, spec: RankSpec, own: int, fds: list[int]) -> NoReturn:
        # The pipe is the server's: a signal of the rank would wake the server in its place.
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._close_ends()
        for fd in fds:
            # A rank that held another's socket would keep it open after that one's death, and nobody would see the end.
            if fd != own:
                os.close(fd)
        worker.live(spec, Channel(socket.socket(fileno=own)), server=self._pid, late_imports=self._late)

    def _close_ends(self) -> None:
        """In a fork: let go of what connects this server with others."""
        self._channel.close()
        self._wake.close()
        self._wake_writer.close()
        if self._nursery is not None:
            self._nursery.close()

    def _reap(self) -> None:
        """Tell of ranks that ended. They stay zombies until their world is discarded, so their ids stay theirs."""
        with contextlib.suppress(BlockingIOError):  # woken by a message, not by a signal
            self._wake.recv(4096)
        for pid, rank in self._ranks.items():
            if not rank.ended:
                ending = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ending is not None:
                    rank.ended = True
                    self._channel.send(("ended", pid, ending.si_code == os.CLD_EXITED, ending.si_status))
        for pid in [pid for pid in self._branches if os.waitpid(pid, os.WNOHANG)[0]]:
            self._branches.discard(pid)
        self._reap_orphans()
        if self._nursery is not None:
            # We run no jobs beside branches: these are what the ranks of a killed branch have left behind.
            processes.kill(self._orphans())

    def _orphans(self) -> list[int]:
        own = self._ranks.keys() | self._branches
        return [pid for pid in processes.children(self._pid) if pid not in own]

    def _reap_orphans(self) -> None:
        for pid in self._orphans():
            os.waitpid(pid, os.WNOHANG)

    def _discard(self, world: int, leaving: list[int]) -> None:
        """Kill the ranks of a world with everything they started, wait for their end, and say so."""
        pids = [pid for pid, rank in self._ranks.items() if rank.world == world]
        self._wait_for_exit(leaving)
        # Before anything is killed: with their parent dead they become ours, and whose they were cannot be seen any
        # more.
        below = [child for pid in pids for child in processes.descendants(pid)]
        for pid in pids:
            _kill_group(pid)  # it is not reaped yet, so the number is still its own
        processes.kill([*pids, *below])
        for pid in pids:
            del self._ranks[pid]
        # Whoever is not a rank of another world now is a remnant of this one: worlds run one at a time, and those
        # that wait have proven that they have no children.
        deadline = time.monotonic() + _KILL_LIMIT
        while (left := self._orphans()) and time.monotonic() < deadline:
            processes.kill([*left, *(child for pid in left for child in processes.descendants(pid))])
            self._reap_orphans()
            time.sleep(0.001)
        self._channel.send(("discarded", world))

    def _wait_for_exit(self, pids: list[int]) -> None:
        deadline = time.monotonic() + _EXIT_LIMIT
        while time.monotonic() < deadline and any(processes.state(pid) not in ("", "Z") for pid in pids):
            time.sleep(0.005)

    def end(self, code: int) -> NoReturn:
        """Kill everything below this process and end."""
        if os.getpid() != self._pid:
            os._exit(code)  # a fork of ours that had not come far enough to be a rank
        deadline = time.monotonic() + _KILL_LIMIT
        while (below := processes.descendants(self._pid)) and time.monotonic() < deadline:
            processes.kill(below)
            for pid in processes.children(self._pid):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.001)
        measure.stop()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _log_to(path: str) -> None:
    """Send stdout and stderr, also those of ranks to come, to the end of this file."""
    with open(path, "ab") as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)


def _import_rank_modules(result: Preloaded) -> None:
    """Import what ranks need from here once torch is there (14 ms a rank otherwise)."""
    if "torch" in result.modules:
        for name in ("cluster.devices", "cluster.fingerprint", "states.compare", "subject.session"):
            importlib.import_module(f"dcp_conformance.harness.{name}")


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return  # killed before it could found its group
