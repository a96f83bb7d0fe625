"""Numbers of the system calls that change files, and the filter that hands them to a supervisor. Linux only.

What the filter cannot see: stores through a shared mapping (the mapping itself is seen, see mappings.py), io_uring and
aio (their set-up is seen), calls of another word size than the kernel's own.
"""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterable, Mapping

_BOTH = {"io_uring_setup": 425, "pidfd_open": 434, "openat2": 437, "pidfd_getfd": 438}
# asm/unistd.h; aarch64 has only the calls that take a folder's descriptor.
NUMBERS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {
        "write": 1, "open": 2, "close": 3, "mmap": 9, "ioctl": 16, "pwrite64": 18, "writev": 20, "sendfile": 40,
        "msync": 26,
        "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83, "rmdir": 84,
        "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "mknod": 133, "sync": 162, "io_submit": 209,
        "openat": 257, "mkdirat": 258, "mknodat": 259, "unlinkat": 263, "renameat": 264, "linkat": 265,
        "symlinkat": 266, "splice": 275, "fallocate": 285, "pwritev": 296, "syncfs": 306, "renameat2": 316,
        "seccomp": 317, "copy_file_range": 326, "pwritev2": 328, "shmget": 29, "connect": 42, "mq_open": 240,
        "process_vm_readv": 310, **_BOTH,
    },
    "aarch64": {
        "io_submit": 2, "ioctl": 29, "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37,
        "renameat": 38, "truncate": 45, "ftruncate": 46, "fallocate": 47, "openat": 56, "close": 57, "write": 64,
        "writev": 66, "pwrite64": 68, "pwritev": 70, "sendfile": 71, "splice": 76, "sync": 81, "fsync": 82,
        "fdatasync": 83, "mmap": 222, "syncfs": 267, "renameat2": 276, "seccomp": 277, "copy_file_range": 285,
        "pwritev2": 287, "msync": 227, "mq_open": 180, "shmget": 194, "connect": 203, "process_vm_readv": 270,
        **_BOTH,
    },
}  # fmt: skip
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
_OWN_USE = {"seccomp", "pidfd_open", "pidfd_getfd"}
# By these a process comes to what others have stored, beside what it opens.
_REACHES = {"shmget", "connect", "mq_open", "process_vm_readv"}
_OPENS = {"open", "openat", "openat2", "io_uring_setup"}

# linux/fs.h; sharing blocks with another file is a write whose bytes are not in the call.
FICLONE, FICLONERANGE = 0x40049409, 0x4020940D
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_PROT_WRITE, _MAP_SHARED, _MAP_ANONYMOUS = 2, 1, 0x20

# linux/filter.h, linux/seccomp.h
_LOAD, _EQUAL, _ANY_OF, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_NR, _ARCH, _ARGUMENTS = 0, 4, 16


def numbers() -> Mapping[str, int]:
    """Return the numbers on this machine; empty where they are not known."""
    return NUMBERS.get(platform.machine(), {})


def program() -> bytes:
    """Return the filter as an array of `struct sock_filter`: what changes files goes to the supervisor, all else runs.

    Opening for reading only is left alone, and so are mappings that no other process or file could see.
    """
    conditions = {
        "open": _when(1, _WRITES), "openat": _when(2, _WRITES), "mmap": _shared_mapping(), "ioctl": _clones(),
    }  # fmt: skip
    return _filter(numbers().keys() - _OWN_USE - _REACHES, conditions)


def reading_program() -> bytes:
    """As `program`, for what reads: every opening, and every way to what another process holds."""
    return _filter(numbers().keys() & (_OPENS | _REACHES), {})


def _filter(names: Iterable[str], conditions: Mapping[str, list[tuple[int, int, int, int]]]) -> bytes:
    known = numbers()
    # The same numbers mean other calls to a process of another word size: those are let through unseen.
    lines = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, _ARCHITECTURES[platform.machine()]), (_RETURN, 0, 0, _ALLOW)]
    lines.append((_LOAD, 0, 0, _NR))
    for name in names:
        block = conditions.get(name, [(_RETURN, 0, 0, _NOTIFY)])
        lines += [(_EQUAL, 0, len(block), known[name]), *block]
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", code, true, false, value) for code, true, false, value in lines)


def _argument(number: int) -> tuple[int, int, int, int]:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * number)  # its lower half: both machines are little-endian


def _when(number: int, bits: int) -> list[tuple[int, int, int, int]]:
    return [_argument(number), (_ANY_OF, 0, 1, bits), (_RETURN, 0, 0, _NOTIFY), (_RETURN, 0, 0, _ALLOW)]


def _shared_mapping() -> list[tuple[int, int, int, int]]:
    return [
        _argument(2), (_ANY_OF, 0, 4, _PROT_WRITE),
        _argument(3), (_ANY_OF, 0, 2, _MAP_SHARED), (_ANY_OF, 1, 0, _MAP_ANONYMOUS),
        (_RETURN, 0, 0, _NOTIFY), (_RETURN, 0, 0, _ALLOW),
    ]  # fmt: skip


def _clones() -> list[tuple[int, int, int, int]]:
    commands: Iterable[int] = (FICLONE, FICLONERANGE)
    tests = [(_EQUAL, 0, 1, command) for command in commands]
    lines = [_argument(1)]
    for test in tests:
        lines += [test, (_RETURN, 0, 0, _NOTIFY)]
    return [*lines, (_RETURN, 0, 0, _ALLOW)]
