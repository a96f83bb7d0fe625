"""How a run is asked to stop: SIGTERM and SIGHUP are Ctrl-C, and workers of a run that stops are not waited for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Collection
from types import FrameType
from typing import Any

from dcp_conformance.harness.cluster import processes

_AS_CTRL_C = (signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While installed, SIGTERM and SIGHUP raise KeyboardInterrupt: what a CI job sends when its time is over."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Take the signals over; one that was ignored (`nohup`) stays ignored. Only a main thread can do this."""
        # Python allows handlers to the main thread only, and pytest may be run from another one.
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _AS_CTRL_C:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._interrupt)

    def restore(self) -> None:
        """Give the signals back; may be called twice."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        for other in self._before:
            signal.signal(other, signal.SIG_IGN)  # the end of a run is not to be interrupted by the same wish again
        raise KeyboardInterrupt(signal.Signals(number).name)


def end_workers(*, keep: Collection[int | None]) -> None:
    """SIGKILL the processes that this one started, but for those in `keep`; theirs end with them.

    A worker that waits for a hung rank hears no Ctrl-C, and pytest-xdist gives it ten seconds.
    """
    processes.kill(pid for pid in processes.children(os.getpid()) if pid not in keep)
