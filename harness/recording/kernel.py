"""The kernel interfaces of the recorder, through ctypes: seccomp notifications, and other processes' memory and files.

No root, no compiler, no ptrace attach; memory of another process may be read where ptrace would be permitted.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import struct
from dataclasses import dataclass

from dcp_conformance.harness.recording import syscalls

MEANS = "seccomp user notification"

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PTRACER, _PR_SET_NO_NEW_PRIVS = 0x59616D61, 38
_SET_MODE_FILTER = 1
_TSYNC, _NEW_LISTENER, _TSYNC_ESRCH, _WAIT_KILLABLE = 1, 8, 16, 32
_RECEIVE, _SEND, _ADD_FD, _SET_FLAGS = 0xC0502100, 0xC0182101, 0x40182103, 0x40082104
_CONTINUE, _SET_FD, _AND_SEND = 1, 1, 2
_NOTIFICATION = struct.Struct("QIIiIQ6Q")
_AT_ONCE = 1 << 20  # bytes of another process read in one go


@dataclass(frozen=True)
class Notification:
    """One call that waits for an answer."""

    id: int
    #: Its id in the supervisor's eyes.
    thread: int
    number: int
    arguments: tuple[int, ...]


def is_new_enough() -> bool:
    """Tell whether the kernel can answer a call with a descriptor in one step, as it can since Linux 5.14."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found[1]), int(found[2])) >= (5, 14)


def install_filter(supervisor: int, lines: bytes) -> int:
    """Put this process, with all its threads and all its later children, under a filter; return the listener.

    supervisor: the process that may read this one. lines: the filter, of harness.recording.syscalls. OSError where
    the kernel or an outer profile forbids it.
    """
    _libc.prctl(_PR_SET_PTRACER, ctypes.c_ulong(supervisor), 0, 0, 0)  # fails without yama, where it is not needed
    # The kernel's price for a filter without privilege: nothing that this process starts can gain rights any more.
    _called("prctl", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    buffer = ctypes.create_string_buffer(lines, len(lines))
    # struct sock_fprog: the number of lines, padding, and where they are.
    holder = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(lines) // 8, ctypes.addressof(buffer)), 16)
    # All threads at once: those that torch has started would otherwise write unseen. With ESRCH a failure to reach one
    # is an error, which could otherwise not be told from a listener's number.
    flags = _TSYNC | _NEW_LISTENER | _TSYNC_ESRCH
    number = syscalls.numbers()["seccomp"]
    # A call that was received is not interrupted by signals, so that nothing is done twice (since Linux 5.19).
    listener: int = _libc.syscall(number, _SET_MODE_FILTER, flags | _WAIT_KILLABLE, holder)
    return listener if listener >= 0 else _called("seccomp", _libc.syscall(number, _SET_MODE_FILTER, flags, holder))


def wake_up_at_once(listener: int) -> None:
    """Have the kernel run the caller and this process in turns, on one processor: each waits for the other anyway.

    Kernels before Linux 6.6 do not know it, and wake them up wherever there is room.
    """
    with contextlib.suppress(OSError):
        fcntl.ioctl(listener, _SET_FLAGS, 1)


def receive(listener: int) -> Notification | None:
    """Return the next call that waits; None where it went away in the meantime."""
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except FileNotFoundError:
        return None
    identity, thread, _flags, number, _arch, _ip, *arguments = _NOTIFICATION.unpack(buffer)
    return Notification(identity, thread, number, tuple(arguments))


def proceed(listener: int, call: Notification) -> None:
    """Let the kernel run the call."""
    _answer(listener, struct.pack("QqiI", call.id, 0, 0, _CONTINUE))


def reply(listener: int, call: Notification, value: int = 0, *, error: int = 0) -> None:
    """End the call with a value or an error number; the kernel does nothing of it."""
    _answer(listener, struct.pack("QqiI", call.id, value, -error, 0))


def reply_descriptor(listener: int, call: Notification, descriptor: int, *, inherited: bool) -> None:
    """End the call with a new descriptor of the caller, for the same open file as `descriptor` of this process."""
    flags = 0 if inherited else os.O_CLOEXEC
    request = struct.pack("QIIII", call.id, _AND_SEND, descriptor, 0, flags)
    try:
        fcntl.ioctl(listener, _ADD_FD, request)
    except FileNotFoundError:
        return  # the caller was killed
    except OSError as error:
        reply(listener, call, error=error.errno or 0)


def replace_descriptor(listener: int, call: Notification, number: int, descriptor: int) -> None:
    """Make `number` of the caller refer to the file of `descriptor` of this process: what it was is closed."""
    fcntl.ioctl(listener, _ADD_FD, struct.pack("QIIII", call.id, _SET_FD, descriptor, number, os.O_CLOEXEC))


def read_memory(process: int, address: int, length: int) -> bytes:
    """Return the bytes of another process.

    Fewer where its memory ends before. PermissionError where it may not be read.
    """
    with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:
        parts, left = [], length
        while left:
            try:
                part = os.pread(memory.fileno(), min(left, _AT_ONCE), address + length - left)
            except OSError:
                break  # nothing is mapped there
            if not part:
                break
            parts.append(part)
            left -= len(part)
    return b"".join(parts)


def read_string(process: int, address: int) -> bytes:
    """Return a string of another process, without its zero byte: at most a path's 4096 bytes."""
    found, most = b"", 4096
    while b"\0" not in found and len(found) < most:
        here = address + len(found)
        # Never across a page, since the next one may not be there.
        part = read_memory(process, here, 4096 - here % 4096)
        if not part:
            break
        found += part
    return found.partition(b"\0")[0]


def descriptor_of(process: int, number: int) -> int:
    """Return a descriptor of this process for the same open file, position included, as one of another process."""
    known = syscalls.numbers()
    # By pidfd and not by opening /proc/PID/fd: that would make another open file, with a position of its own.
    handle = _called("pidfd_open", _libc.syscall(known["pidfd_open"], process, 0))
    try:
        return _called("pidfd_getfd", _libc.syscall(known["pidfd_getfd"], handle, number, 0))
    finally:
        os.close(handle)


def rename2(source: str, target: str, flags: int) -> None:
    """renameat2 on paths; flags as there."""
    paths = (ctypes.c_char_p(os.fsencode(source)), ctypes.c_char_p(os.fsencode(target)))
    here = ctypes.c_int(-100)
    _called("renameat2", _libc.syscall(syscalls.numbers()["renameat2"], here, paths[0], here, paths[1], flags))


def _answer(listener: int, response: bytes) -> None:
    try:
        fcntl.ioctl(listener, _SEND, response)
    except FileNotFoundError:
        return  # the caller was killed, or a signal took it out of the call


def _called(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
