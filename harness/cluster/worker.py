"""The life of a rank after its fork: set up, run functions by name, prove that nothing was left behind."""

from __future__ import annotations

import ctypes
import datetime
import faulthandler
import gc
import importlib
import os
import pickle
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dcp_conformance.harness.cluster import guard, measure, processes, rank
from dcp_conformance.harness.cluster.codec import NotPlainData, dumps
from dcp_conformance.harness.cluster.exceptions import record
from dcp_conformance.harness.cluster.functions import FunctionName, resolve
from dcp_conformance.harness.cluster.wire import Channel

#: Makes a rank write the stacks of its threads. A real-time signal, because backends use SIGUSR1 and SIGUSR2; by its
#: number (SIGRTMAX - 3), because other systems, where this module is only imported, lack the name.
STACK_SIGNAL = 61

_CRASHED = 70
_LOOKING = 4  # times the settle limit, for what may change loaded values


@dataclass(frozen=True, kw_only=True)
class RankSpec:
    """What a new rank is told."""

    rank: int
    world_size: int
    group: bool
    device: str
    folder: str
    group_timeout: float
    settle_limit: float


def log_path(folder: str | Path, number: int) -> Path:
    """Return where stdout and stderr of a rank go."""
    return Path(folder, f"rank-{number}.log")


def stack_path(folder: str | Path, number: int) -> Path:
    """Return where a rank writes its stacks on STACK_SIGNAL."""
    return Path(folder, f"rank-{number}.stack")


def events_path(folder: str | Path, number: int) -> Path:
    """Return where children of a rank write their events."""
    return Path(folder, f"rank-{number}.events")


def live(spec: RankSpec, channel: Channel, *, server: int, late_imports: tuple[str, ...]) -> NoReturn:
    """Be a rank until the other side hangs up or the process is killed."""
    code = _CRASHED
    try:
        # Before all else: from here on a rank cannot outlive its server.
        _bind_to(server)
        _redirect(spec)
        _Rank(spec, channel, late_imports).serve()
        measure.stop()
        code = 0
    except BaseException:  # nothing is above this frame but the server's own code, which must not go on here
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _bind_to(server: int) -> None:
    # A group of its own: it can be killed whole, and a backend that signals its own group hits nobody else.
    os.setpgid(0, 0)
    processes.die_with_parent(signal.SIGKILL)
    if os.getppid() != server:  # it ended before the line above took effect
        os._exit(_CRASHED)


def _redirect(spec: RankSpec) -> None:
    log = os.open(log_path(spec.folder, spec.rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    # The descriptors and not sys.stdout: native code and children write there too.
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what is printed before SIGKILL is kept
    faulthandler.enable(file=2)
    stacks = open(stack_path(spec.folder, spec.rank), "ab", buffering=0)  # noqa: SIM115  kept open for the handler
    # In C, so that it also answers for a thread that is blocked inside gloo and never comes back to Python.
    faulthandler.register(STACK_SIGNAL, file=stacks, all_threads=True, chain=False)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # closed or replaced by the function that ran; the log keeps what had got there
            continue
    ctypes.CDLL(None).fflush(None)  # what native code printed


class _Rank:
    def __init__(self, spec: RankSpec, channel: Channel, late_imports: tuple[str, ...]) -> None:
        self._channel = channel
        self._spec = spec
        self._pid = os.getpid()
        #: The fingerprint was right when the last run ended.
        self._clean = False
        try:
            self._info = self._set_up(late_imports)
        except BaseException as error:
            channel.send(("failed", dumps(record(error))))
            raise
        # Imported here because it imports torch, which the server does in its own time.
        from dcp_conformance.harness.cluster.fingerprint import Fingerprint

        # After the group and the device are up: their threads and files belong to every rank and not to a run.
        self._baseline = Fingerprint.take()
        channel.send(("ready", self._info.device, self._info.backend))

    def _set_up(self, late_imports: tuple[str, ...]) -> rank.RankInfo:
        spec = self._spec
        os.environ.update(_environment(spec))
        random.seed(0)  # Python seeds every forked process from the clock; worlds shall be alike
        for module in late_imports:
            _import_if_possible(module)
        device, backend = _join(spec)
        info = rank.RankInfo(
            rank=spec.rank,
            world_size=spec.world_size,
            group=spec.group,
            device=device,
            backend=backend,
            folder=spec.folder,
            run=0,
        )
        rank.become(info, self._channel)
        if spec.group:
            _numbered_barrier(0, spec.world_size)
        return info

    def serve(self) -> None:
        actions: dict[str, Callable[..., None]] = {"run": self._run, "prove": self._prove}
        while True:
            try:
                kind, *rest = self._channel.receive()
            except EOFError:
                return
            if kind == "exit":
                return
            actions[kind](*rest)

    def _run(self, number: int, module: str, qualname: str, file: str | None, arguments: bytes) -> None:
        rank.begin_run(number)
        guard.begin()
        started = time.monotonic()
        kind, payload = _call(FunctionName(module, qualname, file), arguments)
        if os.getpid() != self._pid:
            os._exit(_CRASHED)  # a process that the function forked came back from it: it is not the rank
        seconds = time.monotonic() - started
        _flush()
        # Looked at before the answer, in the shadow of slower ranks; usually nothing differs and that is all.
        self._clean = kind == "returned" and self._baseline.holds()
        if self._clean:
            guard.forget()  # nothing is left that could still change a value
        else:
            guard.settle()
        rank.answer(("answer", number, kind, payload, seconds, guard.replaced(), self._clean))

    def _prove(self, number: int, lasting: Collection[str]) -> None:
        differences = [] if self._clean else self._settled_differences(lasting)
        newcomers = [] if self._clean else sorted(self._baseline.newcomers())
        numbers: list[int] = []
        if self._spec.group and _has_group():
            try:
                # By number, since a plain barrier would pair up with a collective that the run left behind, and both
                # would seem well.
                numbers = _numbered_barrier(number, self._spec.world_size)
            except Exception as error:
                differences.append(f"The barrier after the run failed: {type(error).__name__}: {error}")
        rank.answer(("proof", number, numbers, differences, guard.changed(), newcomers))

    def _settled_differences(self, lasting: Collection[str]) -> list[str]:
        """Differences that stay: threads, children and files of a finished run may take a moment to go away.

        lasting: kinds of them that did not go away before; they are not waited for again.
        """
        # Where something else differs the world is lost anyway: wait a little, for true sentences only.
        limit = self._spec.settle_limit if self._baseline.may_settle() else min(0.1, self._spec.settle_limit)
        if guard.is_watching():
            limit *= _LOOKING  # what stays behind may be what will change the values
        deadline = time.monotonic() + limit
        pause = 0.002
        gc.collect()
        while self._changes_still(lasting) and time.monotonic() < deadline:
            gc.collect()  # files and threads may hang on reference cycles
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return self._baseline.differences()

    def _changes_still(self, lasting: Collection[str]) -> bool:
        """Tell whether waiting may show more: something is going away, or is left that may yet change loaded values."""
        return self._baseline.unsettled(lasting) or (guard.is_watching() and self._baseline.acts_by_itself())


def _call(name: FunctionName, arguments: bytes) -> tuple[str, bytes]:
    try:
        function = resolve(name)
        values = _load_arguments(arguments)
        return "returned", _encoded(name, function(*values))
    except BaseException as error:  # SystemExit and CheckpointException are answers like any other
        return "raised", dumps(record(error))


def _encoded(name: FunctionName, value: object) -> bytes:
    try:
        return dumps(value)
    except NotPlainData as error:
        raise TypeError(
            f"{name} returned a value that is not plain data (it holds {error}): make it plain on the rank."
        ) from None


def _load_arguments(arguments: bytes) -> tuple[Any, ...]:
    try:
        return tuple(pickle.loads(arguments))
    except Exception as error:
        raise RuntimeError(f"the arguments cannot be unpickled on the rank: {error!r}") from error


def _environment(spec: RankSpec) -> dict[str, str]:
    number, size = str(spec.rank), str(spec.world_size)
    return {
        "RANK": number,
        "LOCAL_RANK": number,
        "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": size,
        rank.CHILD_EVENTS: str(events_path(spec.folder, spec.rank)),
    }


def _import_if_possible(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception:  # it could be imported in the server's trial; the run that needs it will tell the reason
        traceback.print_exc()


def _join(spec: RankSpec) -> tuple[str, str]:
    from dcp_conformance.harness.cluster.devices import take_device

    device, backend = take_device(spec.device, spec.rank, spec.world_size)
    if not spec.group:
        return device, ""
    import torch.distributed as dist

    dist.init_process_group(
        backend,
        # A file and no TCP store: no port to be found free, and no thread that serves it in rank 0.
        store=dist.FileStore(str(Path(spec.folder, "store")), spec.world_size),
        rank=spec.rank,
        world_size=spec.world_size,
        timeout=datetime.timedelta(seconds=spec.group_timeout),
    )
    return device, backend


def _has_group() -> bool:
    import torch.distributed as dist

    return dist.is_initialized()


def _numbered_barrier(number: int, world_size: int) -> list[int]:
    """Let all ranks tell all which run they are at: that shows a collective which one of them left behind."""
    import torch
    import torch.distributed as dist

    mine = torch.tensor([number], dtype=torch.int64, device="cpu")
    everyone = [torch.empty(1, dtype=torch.int64, device="cpu") for _ in range(world_size)]
    dist.all_gather(everyone, mine)
    return [int(value.item()) for value in everyone]
