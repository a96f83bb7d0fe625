"""When a world counts as hung, and what its silent ranks were doing."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dcp_conformance.harness.cluster import processes
from dcp_conformance.harness.cluster.worker import STACK_SIGNAL

_STOPPED_LIMIT = 1.0
_DUMP_LIMIT = 1.0
_CLOCK = os.sysconf("SC_CLK_TCK")
#: Share of one processor from which ranks count as working: four that wait in gloo use 0.013 of one, by its polling.
_WORKING = 0.05


class Watch:
    """Watches the processor time of a world's ranks and everything below them, from now on.

    Declares a hang when for `quiet` seconds no rank has answered, worked or waited for a processor;
    when for a second all silent ranks have been stopped and have no children who could continue them; and in any
    case after `total` seconds (a busy loop is a hang too).
    """

    def __init__(self, pids: Sequence[int], *, quiet: float, total: float) -> None:
        self.started = time.monotonic()
        #: How long to wait for answers before asking `is_hung` again.
        self.pause = min(0.25, quiet / 8, total / 8)
        self._pids = pids
        self._quiet = quiet
        self._total = total
        self._active = self._running = self.started
        # One second less than nothing, so that the first look counts as work and the clock starts from there.
        self._ticks = -_CLOCK
        self._looks = self._seen_running = 0

    def heard(self) -> None:
        """Note that a rank has said something."""
        self._mark(time.monotonic(), self._ticks)

    def out_of_time(self) -> bool:
        """Tell whether the total limit has passed."""
        return time.monotonic() - self.started >= self._total

    def is_hung(self, silent: Sequence[int]) -> bool:
        """Look at the processes now; `silent` are those whose answer is missing."""
        now = time.monotonic()
        ticks, running = self._activity()
        self._looks += 1
        self._seen_running += running
        # Two ticks at least: gloo's polling alone may be charged one between two quick looks.
        worked = ticks - self._ticks >= max(2.0, _WORKING * (now - self._active) * _CLOCK)
        # On a busy machine a rank may get no processor time at all, but is found waiting for it nearly every time.
        starved = self._seen_running >= 3 and self._seen_running * 4 >= self._looks
        if worked or starved:
            self._mark(now, ticks)
        # All of them, and without children: whoever still runs may be about to continue the others.
        if not all(processes.state(pid) == "T" and not processes.descendants(pid) for pid in silent):
            self._running = now
        stopped_for = now - self._running
        return now - self._active >= self._quiet or stopped_for >= min(_STOPPED_LIMIT, self._quiet)

    def _mark(self, now: float, ticks: int) -> None:
        self._active, self._ticks, self._looks, self._seen_running = now, ticks, 0, 0

    def _activity(self) -> tuple[int, bool]:
        everyone = [*self._pids, *(child for pid in self._pids for child in processes.descendants(pid))]
        return sum(map(processes.cpu_ticks, everyone)), any(processes.state(pid) == "R" for pid in everyone)


@dataclass(frozen=True)
class Silence:
    """What a silent process was found doing."""

    stack: str
    stopped: bool


def look_at(processes_and_files: Sequence[tuple[int, Path]]) -> list[Silence]:
    """Have each process write the stacks of its threads into its file, and read them.

    A stopped process is not continued for this: it would go on changing what the test is about to inspect.
    """
    stopped = [processes.state(pid) == "T" for pid, _file in processes_and_files]
    for (pid, file), is_stopped in zip(processes_and_files, stopped, strict=True):
        if not is_stopped:
            _ask(pid, file)
    _wait_for([file for (_pid, file), is_stopped in zip(processes_and_files, stopped, strict=True) if not is_stopped])
    return [
        Silence(_stack(pid, file, is_stopped), is_stopped)
        for (pid, file), is_stopped in zip(processes_and_files, stopped, strict=True)
    ]


def _ask(pid: int, file: Path) -> None:
    try:
        # Stacks of an earlier run would stand before these.
        os.truncate(file, 0)
        os.kill(pid, STACK_SIGNAL)
    except OSError:
        return  # it ended meanwhile, or never came to open its file: the stack says so


def _wait_for(files: Sequence[Path]) -> None:
    """Until every file has something in it and none has grown for 40 ms."""
    deadline = time.monotonic() + _DUMP_LIMIT
    before: list[int] = []
    while time.monotonic() < deadline:
        sizes = [file.stat().st_size if file.exists() else 0 for file in files]
        if sizes == before and all(sizes):
            return
        before = sizes
        time.sleep(0.04)


def _stack(pid: int, file: Path, stopped: bool) -> str:
    if stopped:
        return f"The process {pid} was stopped by a signal (state T)."
    try:
        text = file.read_text(errors="replace")
    except OSError as error:
        text = f"({error})"
    return text or f"The process {pid} wrote no stack: state {processes.state(pid) or 'gone'}, {_kernel_function(pid)}."


def _kernel_function(pid: int) -> str:
    try:
        return f"waiting in the kernel function {Path(f'/proc/{pid}/wchan').read_text() or '?'}"
    except OSError:
        return "nothing known of the kernel"
