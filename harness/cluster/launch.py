"""The driving process's end of the fork server: start it, ask it for ranks, hear which ended, end it.

A server costs the import of torch (3 to 5 s of one core). Several driving processes of one run, as pytest-xdist starts
them, share that cost: the first one's server forks a branch of itself for each of the others.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any, Protocol

from dcp_conformance import IMPORT_ROOT
from dcp_conformance.harness.cluster import processes
from dcp_conformance.harness.cluster.branch import Branch, connect
from dcp_conformance.harness.cluster.config import ONE_THREAD, ClusterConfig
from dcp_conformance.harness.cluster.errors import ClusterError, ServerLost
from dcp_conformance.harness.cluster.wire import Channel
from dcp_conformance.harness.cluster.worker import RankSpec
from dcp_conformance.harness.errors import UsageError

_START_LIMIT = 180.0
_REPLY_LIMIT = 60.0
_CLOSE_LIMIT = 15.0
_PING_LIMIT = 20.0
# Asking the CUDA driver itself, as imports do through torch.cuda.is_available(), would make the server unfit to fork.
_NO_DRIVER = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
_MARK = "DCP_CONFORMANCE_CLUSTER"
_FOREIGN_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")

# `python -c` puts the current folder first on sys.path; a folder there must never hide a package of ours.
_PROGRAM = """
import sys
root, extra, fd, driver = sys.argv[1], sys.argv[2:-2], int(sys.argv[-2]), int(sys.argv[-1])
sys.path[:] = [entry for entry in sys.path if entry]
if root not in sys.path:
    sys.path.insert(0, root)
sys.path.extend(entry for entry in extra if entry not in sys.path)
del sys.argv[1:]
from dcp_conformance.harness.cluster.fork_server import main
main(fd, driver)
"""


class _Process(Protocol):
    """What is asked of the server's process, whoever started it."""

    @property
    def pid(self) -> int: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...


class ForkServer:
    """A running fork server. Messages about ranks are collected by `pump` until somebody asks for them."""

    def __init__(self, config: ClusterConfig, *, refused: dict[str, str], late: Sequence[str]) -> None:
        self.log = config.folder.absolute() / f"server-{os.getpid()}.log"
        #: Process id of a rank that ended -> (by its own exit, exit code or signal number).
        self.endings: dict[int, tuple[bool, int]] = {}
        #: In the environment of everything that is started here, so that it can be found without a living parent.
        self._mark = uuid.uuid4().hex
        self._forked: dict[int, list[int]] = {}
        self._discarded: set[int] = set()
        self._started: tuple[Any, ...] | None = None
        self._pongs = 0
        self._wanted: dict[str, Any] = {
            "preload": config.preload,
            "optional_preload": config.optional_preload,
            "coverage": config.coverage,
            "refused": refused,
            "late": tuple(late),
            "nursery": None if config.nursery is None else str(config.nursery),
            "log": str(self.log),
        }
        self._process = self._open(config)
        self.pid = self._process.pid
        self._tell(self._wanted)

    def _open(self, config: ClusterConfig) -> _Process:
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours, send_limit=_REPLY_LIMIT)
        # A file and no pipe: what a crashed server wrote is there to be read, and nobody has to drain it.
        with theirs, open(self.log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(IMPORT_ROOT), *map(os.path.abspath, config.search_path)]
                + [str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**_environment(config), _MARK: self._mark},
                pass_fds=(theirs.fileno(),),
                # Ctrl-C in a terminal goes to the whole foreground group; the server is ended in order by who started
                # it.
                start_new_session=True,
            )

    def start(self) -> tuple[Any, ...]:
        """Wait until it has preloaded; ("ready", modules, refused) or ("unfit", module, reason).

        Raises:
            ClusterError: the server ended or took too long.
            UsageError: torch cannot be imported.
        """
        self._wait(lambda: self._started is not None, _START_LIMIT, "preload its modules")
        assert self._started is not None
        kind, *rest = self._started
        # Every other module may be missing; without torch there is nothing to be certified.
        if kind == "ready" and "torch" in rest[1] and "torch" in self._wanted["preload"]:
            raise UsageError(f"ranks cannot be started: torch {rest[1]['torch']} ({sys.executable}).")
        return self._started

    def fork(self, world: int, specs: list[RankSpec], ends: Sequence[socket.socket]) -> list[int]:
        """Fork one rank for each spec, giving it this end of a socket; process ids by rank."""
        try:
            self.channel.send_with_fds(("fork", world, specs), [end.fileno() for end in ends])
        except OSError as error:
            raise self.lost() from error
        self._wait(lambda: world in self._forked, _REPLY_LIMIT, "fork ranks")
        return self._forked.pop(world)

    def discard(self, world: int, pids: Sequence[int], *, leaving: Sequence[int] = ()) -> None:
        """Kill the ranks of a world and everything they started; returns when they are gone.

        Those in `leaving` were asked to exit and are given a few seconds to.
        """
        self._tell(("discard", world, list(leaving)))
        self._wait(lambda: world in self._discarded, _REPLY_LIMIT, "end ranks")
        self._discarded.discard(world)
        for pid in pids:
            self.endings.pop(pid, None)

    def ping(self) -> None:
        """Make sure that it is as it was: what ran below it may have killed or stopped it.

        Raises:
            ServerLost: it is not.
        """
        self._pongs = 0
        self._tell(("ping",))
        self._wait(lambda: self._pongs > 0, _PING_LIMIT, "answer")

    def pump(self) -> None:
        """Take in what the server has said.

        Raises:
            ClusterError: it is gone.
        """
        messages = [] if self.channel.closed else self.channel.drain()
        for kind, *rest in messages:
            if kind == "ended":
                pid, by_exit, status = rest
                self.endings[pid] = (by_exit, status)
            elif kind == "forked":
                self._forked[rest[0]] = rest[1]
            elif kind == "pong":
                self._pongs += 1
            elif kind == "discarded":
                self._discarded.add(rest[0])
            else:
                self._started = (kind, *rest)
        if self.channel.closed:
            raise self.lost()

    def orphans(self, known: set[int]) -> list[int]:
        """Return the processes that the server adopted: started by a rank, and no longer below it."""
        return [pid for pid in processes.children(self.pid) if pid not in known and processes.state(pid) not in "Z"]

    def close(self) -> None:
        """End the server and everything below it."""
        if self.channel.closed:
            return  # it is lost already
        try:
            self.channel.send(("close",))
            self._process.wait(_CLOSE_LIMIT)
        except (OSError, subprocess.TimeoutExpired):
            self._kill()
        self.channel.close()

    def lost(self, what: str = "") -> ServerLost:
        """Return the error for a server that is gone, or that did something for which it must go now."""
        self.channel.close()
        code = self._kill()
        ending = processes.signal_name(-code) if code < 0 else f"exit code {code}"
        what = what or f"ended ({ending})"
        return ServerLost(f"the fork server of the ranks {what}. Last lines of its log:\n{self._log_tail()}")

    def _kill(self) -> int:
        """Make sure that the server is gone, and its session with it; its exit code."""
        try:
            # A second first: a server that hung up is about to end by itself, and its exit code tells why.
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            # Before the server: once it is gone, its descendants belong to init and are found by their environment
            # only.
            processes.kill(processes.descendants(self.pid))
            self._process.kill()
            code = self._process.wait()
        # Ranks die with their server, but what they started is nobody's child now.
        processes.kill(processes.with_environment(f"{_MARK}={self._mark}"))
        return code

    def _tell(self, message: object) -> None:
        try:
            self.channel.send(message)
        except OSError as error:
            raise self.lost() from error

    def _wait(self, done: Any, limit: float, what: str) -> None:
        deadline = time.monotonic() + limit
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        while not done():
            # Both: poll may come back early, and a message in the last moment still counts.
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000) and time.monotonic() >= deadline:
                raise self.lost(f"did not {what} in {limit:g} s")
            self.pump()

    def _log_tail(self) -> str:
        try:
            return self.log.read_bytes()[-4096:].decode(errors="replace")
        except OSError as error:
            return f"(no log: {error})"


class BranchServer(ForkServer):
    """A branch of another driving process's server: the same, without the imports and with an environment of theirs."""

    def _open(self, config: ClusterConfig) -> _Process:
        assert config.branch_of is not None
        try:
            self.channel = Channel(connect(config.branch_of), send_limit=_REPLY_LIMIT)
            _word, pid = self.channel.receive()
            return Branch(pid)
        except (EOFError, OSError) as error:
            raise ClusterError(f"the fork server at {config.branch_of} gave no branch: {error}") from error


def _environment(config: ClusterConfig) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN_RANKS}
    # The last one wins: the environment of a backend's server may set anything but the thread counts, without which the
    # server could not fork. gloo is told the interface, or it would look the host name up, which need not lead here.
    # Ranks of a torchrun job around us are not ours.
    return {**inherited, **_NO_DRIVER, "GLOO_SOCKET_IFNAME": "lo", **config.environment, **ONE_THREAD}
