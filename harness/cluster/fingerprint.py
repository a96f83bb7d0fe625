"""What a run must leave as it found it, and sentences about what it did not.

A fingerprint is a set of named facts. Two of them are compared fact by fact; taking one costs about 0.2 ms.
It sees the state of this process and its children only. It cannot see: patched functions and other changes inside
Python modules, environment changes made by native code behind Python's back, shared memory, files on disk.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import re
import resource
import signal
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcp_conformance.harness.cluster import processes
from dcp_conformance.harness.cluster.torch_state import TORCH_FACTS

#: Those Python code handles; handlers of all signals, native ones too, show in the masks below.
_SIGNALS = tuple(number for number in sorted(signal.valid_signals()) if number < signal.SIGRTMIN)
_LIMITS = tuple((name, getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_"))
_STATUS = re.compile(rb"^(Umask|SigBlk|SigIgn|SigCgt):\s*(\S+)", re.MULTILINE)
#: Signals 32 and 33 belong to the C library, which installs handlers for them when the first thread starts.
_LIBC_SIGNALS = 0b11 << 31
_MASKS = {"SigBlk": "blocked", "SigIgn": "ignored", "SigCgt": "caught"}


@dataclass(frozen=True)
class Fingerprint:
    """The facts of one moment."""

    facts: Mapping[str, Any]

    @classmethod
    def take(cls) -> Fingerprint:
        """Return the facts of this process now."""
        return cls({name: probe() for name, (probe, _tell) in _PROBES.items()})

    def differences(self) -> list[str]:
        """Return one sentence for everything that is not as it was when this fingerprint was taken."""
        sentences: list[str] = []
        for name, (probe, tell) in _PROBES.items():
            # Read once: a second reading for the sentence might already tell another story.
            before, now = self.facts[name], probe()
            if before != now:
                sentences.extend(tell(name, before, now))
        return sentences

    def holds(self) -> bool:
        """Tell whether nothing differs now."""
        return all(probe() == self.facts[name] for name, (probe, _tell) in _PROBES.items())

    def may_settle(self) -> bool:
        """Tell whether nothing differs but what may still be going away."""
        return all(probe() == self.facts[name] for name, (probe, _tell) in _PROBES.items() if name not in _TRANSIENT)

    def acts_by_itself(self) -> bool:
        """Tell whether a timer, a hook of the interpreter or a handler is left that was not there before."""
        return any(_PROBES[name][0]() != self.facts[name] for name in ("interpreter", "handlers"))

    def unsettled(self, lasting: Collection[str] = ()) -> bool:
        """Tell whether threads, children or open files differ: what may still be going away after a run.

        lasting: what is known to stay, as `newcomers` calls it.
        """
        if all(self.facts[name] == _PROBES[name][0]() for name in _TRANSIENT):
            return False
        # Where something is gone and nothing new, there are no newcomers: that is a difference too.
        newcomers = self.newcomers()
        return not newcomers or not newcomers <= set(lasting)

    def newcomers(self) -> set[str]:
        """Return the kinds of threads, children and open files that are new: their names without numbers."""
        before = {
            name: set(self.facts[name].items() if name == "open files" else self.facts[name]) for name in _TRANSIENT
        }
        names = {thread.native_id: thread.name for thread in threading.enumerate()}
        new = [f"thread {names.get(pid) or _native_name(pid)}" for pid in _threads() - before["threads"]]
        new += [f"process {processes.command(pid)}" for pid in _children() - before["children"]]
        new += [f"file {path}" for _, path in _open_files().items() - before["open files"]]
        return {re.sub(r"\d+", "", each) for each in new}


def _threads() -> frozenset[int]:
    return frozenset(int(name) for name in os.listdir("/proc/self/task"))


def _tell_threads(_name: str, before: frozenset[int], now: frozenset[int]) -> list[str]:
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    new = [f"The thread {names.get(pid) or _native_name(pid)!r} is still running." for pid in sorted(now - before)]
    gone = len(before - now)
    return new + ([f"{gone} of the threads that were there before the run are gone."] if gone else [])


def _native_name(thread: int) -> str:
    try:
        return Path(f"/proc/self/task/{thread}/comm").read_text().strip()
    except OSError:
        return f"{thread} (just ended)"


def _children() -> frozenset[int]:
    try:
        # One system call in the usual case of no child at all; WNOWAIT leaves a zombie for whoever started it.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()
    return frozenset(processes.children(os.getpid()))


def _tell_children(_name: str, before: frozenset[int], now: frozenset[int]) -> list[str]:
    return [
        f"The child process {pid} ({processes.command(pid)}) "
        + ("was never waited for." if processes.state(pid) == "Z" else "is still running.")
        for pid in sorted(now - before)
    ]


def _open_files() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the descriptor that listed the folder
    return found


def _tell_open_files(_name: str, before: dict[int, str], now: dict[int, str]) -> list[str]:
    opened = [f"{path} is still open (descriptor {fd})." for fd, path in now.items() if before.get(fd) != path]
    closed = [f"{path} was closed (descriptor {fd})." for fd, path in before.items() if now.get(fd) != path]
    return opened + closed


def _folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "(removed)"


def _tell_environment(_name: str, before: dict[str, str], now: dict[str, str]) -> list[str]:
    # Names only: values may be credentials.
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    verb = {(False, True): "set", (True, False): "removed", (True, True): "changed"}
    return [f"The environment variable {name} was {verb[name in before, name in now]}." for name in changed]


def _limits() -> dict[str, tuple[int, int]]:
    return {name: resource.getrlimit(number) for name, number in _LIMITS}


def _status() -> dict[str, str]:
    """Umask and signal masks of the process, handlers installed by native code included."""
    wanted = {}
    with open("/proc/self/status", "rb") as file:
        for name, value in _STATUS.findall(file.read()):
            wanted[name.decode()] = f"{int(value, 16) & ~_LIBC_SIGNALS:x}" if name != b"Umask" else value.decode()
    return wanted


def _tell_status(_name: str, before: dict[str, str], now: dict[str, str]) -> list[str]:
    sentences = []
    for name in before:
        if before[name] != now.get(name):
            what = f"The set of {_MASKS[name]} signals" if name in _MASKS else "The umask"
            sentences.append(f"{what} was {before[name]} and is {now.get(name)}.")
    return sentences


def _handlers() -> tuple[Any, ...]:
    return tuple(map(signal.getsignal, _SIGNALS))


def _tell_handlers(_name: str, before: tuple[Any, ...], now: tuple[Any, ...]) -> list[str]:
    changed = [number for number, old, new in zip(_SIGNALS, before, now, strict=True) if old != new]
    return [f"The handler of {signal.Signals(number).name} was changed." for number in changed]


class _TorchLoggers:
    """All loggers of torch, looked for again only when there are more loggers than before (40 us)."""

    known = 0
    found: Mapping[str, logging.Logger] = {}

    @classmethod
    def all(cls) -> Mapping[str, logging.Logger]:
        everyone = logging.getLogger().manager.loggerDict
        if len(everyone) != cls.known:
            named = [(name, logger) for name, logger in list(everyone.items()) if name.startswith("torch")]
            cls.known = len(everyone)
            cls.found = {name: logger for name, logger in named if isinstance(logger, logging.Logger)}
        return cls.found


def _loggers() -> dict[str, tuple[Any, ...]]:
    root = logging.getLogger()
    handlers = {name: tuple(logger.handlers) for name, logger in _TorchLoggers.all().items() if logger.handlers}
    return {"root": (root.level, *root.handlers), **handlers}


def _tell_loggers(_name: str, before: dict[str, tuple[Any, ...]], now: dict[str, tuple[Any, ...]]) -> list[str]:
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return [f"The handlers or the level of the logger {name!r} were changed." for name in changed]


def _interpreter() -> dict[str, Any]:
    return {
        "The garbage collector's switch": gc.isenabled(),
        "The recursion limit": sys.getrecursionlimit(),
        "The real-time timer": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        "sys.stdout": id(sys.stdout),
        "sys.stderr": id(sys.stderr),
        # What runs by itself later may change values that were right.
        "The number of the garbage collector's callbacks": len(gc.callbacks),
        "A trace function": sys.gettrace() is not None,
        "A profile function": sys.getprofile() is not None,
    }


def _tell_mapping(_name: str, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [f"{what} was {old} and is {now.get(what)}." for what, old in before.items() if now.get(what) != old]


def _tell_value(name: str, before: object, now: object) -> list[str]:
    return [f"{name} was {before} and is {now}."]


def _tell_changed(name: str, before: object, _now: object) -> list[str]:
    # Nothing before: the library was imported, or the device first used, during the run.
    return [f"{name} was changed."] if before else []


_Probe = tuple[Callable[[], Any], Callable[[str, Any, Any], list[str]]]

_TRANSIENT = ("threads", "children", "open files")
_PROBES: Mapping[str, _Probe] = {
    "threads": (_threads, _tell_threads),
    "children": (_children, _tell_children),
    "open files": (_open_files, _tell_open_files),
    "The current folder": (_folder, _tell_value),
    "environment": (lambda: dict(os.environ), _tell_environment),
    "limits": (_limits, _tell_mapping),
    "status": (_status, _tell_status),
    "handlers": (_handlers, _tell_handlers),
    "loggers": (_loggers, _tell_loggers),
    "interpreter": (_interpreter, _tell_mapping),
    "The random state of Python": (random.getstate, _tell_changed),
    **{name: (probe, _tell_changed if changes else _tell_value) for name, (probe, changes) in TORCH_FACTS.items()},
}
