"""The cluster of local ranks: forked from a warm server, reused while they are proven clean."""

from __future__ import annotations

import contextlib
import itertools
import pickle
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

from dcp_conformance.harness.cluster.config import LARGEST_WORLD, ClusterConfig
from dcp_conformance.harness.cluster.errors import ClusterError, ServerLost
from dcp_conformance.harness.cluster.functions import name_of
from dcp_conformance.harness.cluster.launch import BranchServer, ForkServer
from dcp_conformance.harness.cluster.outcomes import Outcome
from dcp_conformance.harness.cluster.world import Job, World
from dcp_conformance.harness.errors import UsageError

_MOST_IDLE_RANKS = 96


class Cluster:
    """Worlds of local ranks. One run at a time; use it from one thread at a time.

    A world is used again only if every rank returned a value, a numbered barrier agreed, and every rank's
    fingerprint is what it was. Any other end of a run, and any exception in the driving code, throws it away.
    """

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config
        self._server: ForkServer | None = None
        self._launched: ForkServer | None = None
        self._worlds: dict[tuple[int, bool], World] = {}
        self._numbers = itertools.count(1)
        self._lasting = Counter[str]()
        self._preloaded: tuple[str, ...] = ()
        self._refused: dict[str, str] = {}

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def launch(self) -> None:
        """Begin to start the fork server and return at once; `start` waits for it. Raises like `start`."""
        if self._server is None and self._launched is None:
            _needs_linux()
            self.config.folder.mkdir(parents=True, exist_ok=True)
            self._launched = self._new_server({})

    def start(self) -> None:
        """Start the fork server, unless it runs.

        Raises:
            UsageError: this is not Linux, or torch cannot be imported.
            ClusterError: the server could not be started.
        """
        if self._server is not None:
            return
        self.launch()
        refused: dict[str, str] = {}
        # A module that made the server unfit to fork is left to the ranks, and a new server is started without it.
        while True:
            # Taken out at once: a server that fails to start must not be waited for a second time.
            server, self._launched = self._launched or self._new_server(refused), None
            try:
                kind, *rest = server.start()
            except BaseException:
                server.close()
                raise
            if kind == "ready":
                break
            server.close()
            refused[rest[0]] = rest[1]
        self._server = server
        self._preloaded, self._refused = tuple(rest[0]), dict(rest[1])

    def close(self) -> None:
        """End the server, all ranks, and everything they started. The cluster can be started again."""
        # Emptied before it is closed, so that an interrupt in the middle leaves nothing to be closed twice.
        launched, self._launched = self._launched, None
        if launched is not None:
            launched.close()
        server, self._server = self._server, None
        if server is not None:
            self._discard_waiting()
            server.close()

    def run(
        self,
        world_size: int,
        function: Callable[..., Any] | str,
        *args: Any,
        timeout: float | None = None,
        group: bool | None = None,
        fresh: bool = False,
        quiet: float = 0.0,
    ) -> list[Outcome]:
        """Run a module-level function on every rank of a world; outcomes by rank.

        Args:
            world_size: 1 to 64.
            function: the function, or its name as "module:qualname".
            args: plain data, the same for every rank.
            timeout: seconds, before patience, after which the run is a hang; instead of the cluster's total limit.
            group: whether ranks have a default process group; by default where there is more than one.
            fresh: use ranks that have never run anything.
            quiet: seconds, before patience, for which ranks may rightly wait without a sign of life.

        Raises:
            UsageError: an argument is unusable.
            ClusterError: the cluster itself failed.
        """
        job = replace(self._job(function, args, timeout), quiet=quiet * self.config.patience)
        if not 1 <= world_size <= LARGEST_WORLD:
            raise UsageError(f"A world has 1 to {LARGEST_WORLD} local ranks, not {world_size}.")
        key = (world_size, world_size > 1 if group is None else group)
        fresh = fresh or self.config.fresh_ranks
        # Out of the waiting ones while it runs: whatever ends this run, an unproven world is not found by the next.
        world = self._new_world(key) if fresh else self._take_world(key)
        clean = False
        try:
            outcomes, clean = world.run(job, known_pids=self._known_pids(world), prove=True)
            self._still_served()
        except ServerLost:
            clean = False
            raise
        finally:
            # Fresh ranks are never kept: the run that asked for them may have put them under a filter.
            if clean and not fresh:
                self._worlds[key] = world
            else:
                self._discard(world)
        return outcomes

    def call(self, function: Callable[..., Any] | str, *args: Any, timeout: float | None = None) -> Outcome:
        """Run a function in one forked process without a group and a device, which is thrown away afterwards."""
        job = self._job(function, args, timeout)
        # Without a device: this is also how a run finds out whether there is any.
        world = self._new_world((1, False), replace(self.config, device="cpu"))
        try:
            outcomes, _clean = world.run(job, known_pids=self._known_pids(world), prove=False)
            self._still_served()
        finally:
            self._discard(world)
        return outcomes[0]

    def pids(self) -> dict[tuple[int, bool], list[int]]:
        """Return the process ids of the waiting worlds, by (size, group)."""
        return {key: world.pids for key, world in self._worlds.items()}

    def server_pid(self) -> int | None:
        """Return the process id of the fork server, if it runs."""
        return None if self._server is None else self._server.pid

    def preloaded(self) -> tuple[str, ...]:
        """Return the modules that are imported in the fork server."""
        return self._preloaded

    def refused(self) -> dict[str, str]:
        """Return the modules that the fork server did not import, with the reason."""
        return dict(self._refused)

    def _new_server(self, refused: dict[str, str]) -> ForkServer:
        late = tuple(refused)
        if self.config.branch_of is not None:
            # The server that others share may have been killed by what ran below it, which is no reason to give up.
            with contextlib.suppress(ClusterError):
                return BranchServer(self.config, refused=refused, late=late)
        return ForkServer(self.config, refused=refused, late=late)

    def _job(self, function: Callable[..., Any] | str, args: tuple[Any, ...], timeout: float | None) -> Job:
        name = name_of(function)
        try:
            # Pickle is fine in this direction: the driving process is trusted by its ranks. The way back is not
            # (codec).
            arguments = pickle.dumps(args, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # pickle raises PicklingError, TypeError, AttributeError, RecursionError, ...
            raise UsageError(f"The arguments for {name} cannot be sent to ranks: {error}") from error
        most = self.config.total_limit
        limit = most if timeout is None else timeout * self.config.patience
        return Job(name, arguments, limit)

    def _still_served(self) -> None:
        # What a rank answered after it had killed what it was forked from is not to be believed.
        if self._server is not None:
            self._server.ping()

    def _new_world(self, key: tuple[int, bool], config: ClusterConfig | None = None) -> World:
        known = self._server
        try:
            return self._forked(key, config)
        except ServerLost:
            if known is None:
                raise
            return self._forked(key, config)  # it ended between two runs: a new one takes over

    def _forked(self, key: tuple[int, bool], config: ClusterConfig | None) -> World:
        self.start()
        assert self._server is not None
        self._make_room(key[0])
        try:
            return World(
                self._server,
                next(self._numbers),
                size=key[0],
                group=key[1],
                config=config or self.config,
                lasting=self._lasting,
            )
        except ClusterError:
            self._drop_lost_server()
            raise

    def _take_world(self, key: tuple[int, bool]) -> World:
        """Return a proven world, taken out of the waiting ones: only a clean end of its next run puts it back."""
        world = self._worlds.pop(key, None)
        if world is not None:
            try:
                # A rank may die while it waits: by the kernel's out-of-memory killer, or by what a backend had left to
                # happen later.
                if world.is_alive():
                    return world
                world.discard()
            except ClusterError:
                self._drop_lost_server()  # it ended between two runs; its ranks are gone, a new one takes over
        return self._new_world(key)

    def _make_room(self, wanted: int) -> None:
        """Discard waiting worlds, which cost memory: those that were idle longest go first."""
        while self._worlds and wanted + sum(size for size, _group in self._worlds) > _MOST_IDLE_RANKS:
            self._worlds.pop(next(iter(self._worlds))).discard()

    def _discard(self, world: World) -> None:
        try:
            world.discard()
        except ClusterError:
            self._drop_lost_server()

    def _discard_waiting(self) -> None:
        while self._worlds:
            _key, world = self._worlds.popitem()
            with contextlib.suppress(ClusterError):  # the server is lost, and its ranks with it
                world.discard()

    def _drop_lost_server(self) -> None:
        """After an error of the cluster: if its server is lost, let the next run start another one."""
        # Only a lost server is dropped; a world that could not start says nothing of the server.
        if self._server is not None and self._server.channel.closed:
            self._server = None
            self._discard_waiting()

    def _known_pids(self, world: World) -> set[int]:
        return {pid for known in (*self._worlds.values(), world) for pid in known.pids}


def _needs_linux() -> None:
    if sys.platform != "linux":
        raise UsageError(
            f"Local ranks need Linux (fork, /proc, process-death signals); this is {sys.platform}. "
            "Run in a Linux container or machine."
        )
