"""Limits of the operating system as faults: they reach every library in every language, and need no privilege.

What they cannot see: a store that keeps its bytes in another process that was running before, or behind a network.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

# Linux capability numbers: write where the mode forbids it, read and search where it does, act as any file's owner.
_OVERRIDES = (1, 2, 3)
_CAPABILITY_VERSION = 0x20080522


@contextlib.contextmanager
def file_size_limit(size: int, *, lifted_after: float | None = None) -> Iterator[None]:
    """Let no file of this process, its threads and new children grow beyond `size` bytes.

    A write across the limit is short, and the next one fails with EFBIG: a full disk, without filling one.
    lifted_after: seconds after which the limit goes away by itself, for a fault that passes.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    timer = None

    def lift() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    # The soft limit only: a hard one could not be raised again without privilege. Python ignores SIGXFSZ, so that a
    # write fails instead of the process.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        if lifted_after is not None:
            timer = threading.Timer(lifted_after, lift)
            timer.start()
        yield
    finally:
        if timer is not None:
            timer.cancel()
            # Or it could lift the limit of a later fault.
            timer.join()
        lift()


@contextlib.contextmanager
def address_space_limit(extra: int) -> Iterator[None]:
    """Let this process map at most `extra` bytes more than now; beyond that, memory is refused to it."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + extra
    ceilings = [limit for limit in before if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([most, *ceilings]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def read_only(folder: str | os.PathLike[str]) -> Iterator[bool]:
    """Make everything at `folder` and below readable, not changeable, for this thread and those that it starts.

    Gives whether that was achieved, found out by trying. Where the process is privileged, its thread gives up the
    privileges that override file modes, and takes them back afterwards.
    """
    root = Path(folder)
    paths = [root, *root.rglob("*")] if root.is_dir() else [root]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths if not path.is_symlink()}
    with _without_overrides():
        try:
            for path, mode in modes.items():
                path.chmod(mode & ~0o222)
            # Tried as well as asked: on some mounts modes mean nothing.
            yield not os.access(root, os.W_OK, effective_ids=True) and not _can_change(root)
        finally:
            for path, mode in modes.items():
                path.chmod(mode)


def _can_change(root: Path) -> bool:
    try:
        if root.is_dir():
            probe = root / "dcp-conformance-probe"
            probe.touch(exist_ok=False)
            probe.unlink()
        else:
            os.close(os.open(root, os.O_WRONLY))
    except OSError:
        return False
    return True


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def _without_overrides() -> Iterator[None]:
    """Capabilities belong to a thread; what leaves the effective set can be taken back from the permitted one."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_CAPABILITY_VERSION, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), ctypes.byref(sets)) != 0:
        yield
        return
    before = sets[0].effective
    for number in _OVERRIDES:
        sets[0].effective &= ~(1 << number)
    libc.capset(ctypes.byref(header), ctypes.byref(sets))
    try:
        yield
    finally:
        sets[0].effective = before
        libc.capset(ctypes.byref(header), ctypes.byref(sets))


def peak_memory(*, reset: bool = True) -> int:
    """Return the most memory that the process has held, in bytes.

    It is counted from now on, where the system allows that.
    """
    if reset:
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            # Not allowed here: then growth is told only beyond the highest peak so far, which never cries wolf.
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
