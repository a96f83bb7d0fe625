"""Imports in the fork server: what every rank would import anyway, as long as the server stays fit to fork."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from dcp_conformance.harness.cluster import processes

_TRIAL_LIMIT = 60.0


class UnfitToFork(Exception):
    """A module has made this process unfit to fork; only a new server without it helps."""

    def __init__(self, module: str, reason: str) -> None:
        super().__init__(f"importing {module} {reason}")
        self.module = module
        self.reason = reason


@dataclass
class Preloaded:
    """What became of each module to preload."""

    modules: list[str] = field(default_factory=list)
    #: Module -> why it is not in the server.
    refused: dict[str, str] = field(default_factory=dict)
    #: Refused for what they do to the server, so every rank imports them before its baseline is taken.
    late: list[str] = field(default_factory=list)


def preload_trusted(names: Iterable[str], result: Preloaded) -> None:
    """Import modules that need no trial.

    Raises:
        UnfitToFork: one of them started a thread or a process, or initialised a device.
    """
    for name in names:
        if name in result.refused:
            continue
        try:
            importlib.import_module(name)
        # What cannot be imported here cannot be imported on ranks either; the run that needs it says so.
        except Exception as error:
            result.refused[name] = _failure(error)
            continue
        reason = why_unfit()
        if reason:
            raise UnfitToFork(name, reason)
        result.modules.append(name)


def preload_after_trial(names: Iterable[str], result: Preloaded) -> None:
    """Import each module here if a forked child could import it and stayed fit to fork.

    Raises:
        UnfitToFork: one of them did here what it did not do in the trial.
    """
    for name in names:
        if name in result.refused:
            continue
        reason, late = _trial(name)
        if reason:
            result.refused[name] = reason
            if late:
                result.late.append(name)
        else:
            preload_trusted((name,), result)


def freeze() -> None:
    """Move everything imported out of the garbage collector's sight, so that forked ranks do not copy its pages."""
    # First: garbage that is frozen is never collected.
    gc.collect()
    gc.freeze()


def why_unfit() -> str:
    """Say why this process must not fork any more; empty while it may."""
    # Counted by the kernel: threads of native code are unknown to `threading`.
    if len(os.listdir("/proc/self/task")) > 1:
        return "starts a thread"
    if processes.children(os.getpid()):
        return "starts a process"
    torch = sys.modules.get("torch")
    if torch is not None and (kind := _device_in_use(torch)):
        return f"initialises the device {kind}"
    return ""


def _device_in_use(torch: Any) -> str:
    """Return the kind of accelerator that this process has touched; asking which there is touches none."""
    known = torch.accelerator.current_accelerator() if hasattr(torch, "accelerator") else torch.device("cuda")
    module = None if known is None else getattr(torch, known.type, None)
    is_initialized = getattr(module, "is_initialized", None)
    return str(known.type) if is_initialized is not None and is_initialized() else ""


def _trial(name: str) -> tuple[str, bool]:
    """Import a module in a forked child; (reason to refuse it or nothing, whether ranks can import it)."""
    read_end, write_end = os.pipe()
    # A fork and no fresh program: torch is in it already, so that a trial costs the one import and nothing else.
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _report_import(name, write_end)
    os.close(write_end)
    try:
        text = _read_all(read_end, time.monotonic() + _TRIAL_LIMIT)
    finally:
        os.close(read_end)
        # Its children too: an import may start a server of its own, which would then be the fork server's orphan.
        processes.kill([*processes.descendants(child), child])
        _pid, status = os.waitpid(child, 0)
        _reap_orphans()
    if text is None:
        return f"its import took more than {_TRIAL_LIMIT:g} s", False
    if not text:
        return f"its import ended the process ({_ending(status)})", False
    return text[1:], text[:1] == "L"


def _report_import(name: str, write_end: int) -> NoReturn:
    """In the trial's child: import, write one verdict, end. F failed, L is for the ranks (late), O ok."""
    processes.die_with_parent(signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    verdict = "F"
    try:
        importlib.import_module(name)
        reason = why_unfit()
        verdict = ("L" if reason else "O") + reason
    except BaseException as error:  # SystemExit at import is a failure to import
        verdict = "F" + _failure(error)
    finally:
        # Below the 4096 bytes that a pipe takes in one piece, so that the reader needs one read.
        os.write(write_end, verdict.encode(errors="replace")[:4000])
        os._exit(0)


def _read_all(end: int, deadline: float) -> str | None:
    """Text up to the end of the stream or, since a child of the child may hold it open, up to the first verdict."""
    ready, _, _ = select.select([end], [], [], max(0.0, deadline - time.monotonic()))
    return os.read(end, 4096).decode(errors="replace") if ready else None


def _reap_orphans() -> None:
    """Reap the trial's own children: they have come to us, the adopter of orphans, and are killed by now."""
    processes.kill(processes.children(os.getpid()))
    with contextlib.suppress(ChildProcessError):  # none left
        while True:
            os.waitpid(-1, 0)


def _failure(error: BaseException) -> str:
    return f"cannot be imported: {type(error).__name__}: {error}"


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return processes.signal_name(-code) if code < 0 else f"exit code {code}"
