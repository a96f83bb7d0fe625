"""Faulty and observed storage: the real writer and reader of the backend under test, tapped at their interface.

The phases carry the names of PyTorch's own faulty storage, so that its maintainers recognise them. A fault acts on
chosen ranks, before or after the real call, on the thread that the engine called, or in the future that the call
returns. Every call and every fault that was reached is emitted as an event: a pass needs evidence of use, and a refusal
counts only where the fault was seen to be reached.

What it cannot see: work that a backend does outside these calls (in its constructor, in its own threads before the
future completes), and system calls: those are the business of the lower layers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from dcp_conformance.harness.cluster import rank as on_rank
from dcp_conformance.harness.faults import exceptions
from dcp_conformance.harness.faults.fault import FUTURE_PHASES, READER_PHASES, WRITER_PHASES, Fault
from dcp_conformance.harness.faults.proxy import interpose


@dataclass
class StorageTap:
    """The tap of one writer or reader on one rank: emits every call, and acts out the faults."""

    rank: int
    owner: str
    phases: dict[str, str]
    faults: tuple[Fault, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Emit, act before, perform, act after, and put a faulty future around the result where one is asked for."""
        phase = self.phases[method]
        # Counted before the fault, so that a call which fails has been a call.
        count = self.counts[method] = self.counts.get(method, 0) + 1
        # Before the call: one that hangs or kills the process has been reached too.
        announce("call", owner=self.owner, part="S", name=method)
        self._act(phase, count, after=False)
        result = inner(*args, **kwargs)
        self._act(phase, count, after=True)
        return self._future(FUTURE_PHASES[method], count, result) if method in FUTURE_PHASES else result

    def _act(self, phase: str, count: int, *, after: bool) -> None:
        for fault in self.faults:
            if fault.acts_on(phase, self.rank, count, after=after):
                # Before it acts: after a kill nobody could say that the fault was reached.
                announce("fault", phase=phase, what=fault.kind)
                act(fault)

    def _future(self, phase: str, count: int, future: Any) -> Any:
        for fault in self.faults:
            if fault.acts_on(phase, self.rank, count, after=fault.after):
                announce("fault", phase=phase, what=fault.kind)
                return _faulty_future(fault, future)
        return future


def announce(kind: str, **data: Any) -> None:
    """Emit an event where there is a rank to emit it for: tapped storage also works in other programs."""
    with contextlib.suppress(RuntimeError):
        on_rank.emit(kind, **data)


def act(fault: Fault) -> None:
    """Do what the fault says, here and now, on the calling thread."""
    if fault.kind == "raise":
        raise exceptions.make(fault.exception, fault.phase)
    if fault.kind == "delay":
        time.sleep(fault.seconds)
    elif fault.kind == "hang":
        # In Python, so that the stack of the hang names this line.
        threading.Event().wait()
    elif fault.kind == "exit":
        # Without cleaning up, as a crash does: `sys.exit` would only be an exception here.
        os._exit(1)
    elif fault.kind == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    else:
        # To this thread: sent to the process, a stop may be taken by another thread, and this one goes on until then.
        signal.pthread_kill(threading.get_ident(), signal.SIGKILL if fault.kind == "kill" else signal.SIGSTOP)


def _faulty_future(fault: Fault, inner: Any) -> Any:
    """Return a future that fails, is late, or never completes.

    The real work is done first, so that only the report fails.
    """
    outer: Any = torch.futures.Future()

    def complete() -> None:
        try:
            result = inner.wait()
            act(fault)
            outer.set_result(result)
        except Exception as error:
            outer.set_exception(error)

    if fault.kind == "raise":
        complete()
    else:
        # A daemon: a future that never completes must not keep the rank from ending.
        threading.Thread(target=complete, daemon=True).start()
    return outer


def observed_writer(writer: object, *, rank: int, owner: str, faults: tuple[Fault, ...] = ()) -> Any:
    """`writer` with its interface calls emitted as events of `owner`, and with `faults` acted out on this rank."""
    return interpose(writer, tuple(WRITER_PHASES), StorageTap(rank, owner, WRITER_PHASES, faults))


def observed_reader(reader: object, *, rank: int, owner: str, faults: tuple[Fault, ...] = ()) -> Any:
    """`reader` with its interface calls emitted as events of `owner`, and with `faults` acted out on this rank."""
    return interpose(reader, tuple(READER_PHASES), StorageTap(rank, owner, READER_PHASES, faults))
