"""Linux process facts, read from /proc, and the two prctl calls that keep processes from outliving us."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel to send this signal when the thread that created this process ends."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none can hide from `descendants`."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children(pid: int) -> list[int]:
    """Return the direct children of all threads of a process, zombies included; empty when it is gone."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    # Of every thread: the kernel lists a child under the thread that forked it.
    for thread in threads:
        try:
            text = Path(f"/proc/{pid}/task/{thread}/children").read_text()
        except FileNotFoundError:
            if not has_children_files():
                return _children_by_scan(pid)
            continue  # the thread ended between the two reads
        except OSError:
            continue  # the process ended between the two reads
        found.extend(int(word) for word in text.split())
    return found


def has_children_files() -> bool:
    """Tell whether the kernel was built with CONFIG_PROC_CHILDREN; otherwise all of /proc is scanned."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _children_by_scan(parent: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_fields(int(name))
            if fields and int(fields[1]) == parent:
                found.append(int(name))
    return found


def descendants(pid: int) -> list[int]:
    """Return all processes below this one, parents before their children."""
    found: list[int] = []
    todo = children(pid)
    while todo:
        child = todo.pop(0)
        found.append(child)
        todo.extend(children(child))
    return found


def stat_fields(pid: int) -> list[str]:
    """Return fields 3 and up of /proc/PID/stat (state, parent, ...); empty when the process is gone.

    The command name before them may hold blanks and brackets, hence the cut at the last bracket.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return []


def state(pid: int) -> str:
    """R running, S sleeping, D in the kernel, T stopped, Z zombie; empty when the process is gone."""
    fields = stat_fields(pid)
    return fields[0] if fields else ""


def cpu_ticks(pid: int) -> int:
    """Clock ticks of processor time that the process has used, its waited-for children included; 0 when gone."""
    fields = stat_fields(pid)
    # utime, stime, cutime, cstime: without the last two, the work of a child would vanish with its end.
    return sum(int(value) for value in fields[11:15]) if fields else 0


def command(pid: int) -> str:
    """Return the command line of a process, for sentences about it."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return (text or Path(f"/proc/{pid}/comm").read_text().strip())[:120]
    except OSError:
        return "already gone"


def signal_name(number: int) -> str:
    """SIGKILL for 9 and so on; most real-time signals have a number only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def kill(pids: Iterable[int]) -> None:
    """SIGKILL each of these processes that still exists."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue  # gone already, or a set-uid program that nobody but root may kill


def with_environment(entry: str) -> list[int]:
    """Return the processes that were started with `NAME=value` in their environment, or forked from such ones."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                entries = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            except OSError:
                continue  # it ended meanwhile, or belongs to somebody else
            # Of the environment at the start: a process cannot take the mark off itself by clearing its variables.
            if entry.encode() in entries:
                found.append(int(name))
    return found
