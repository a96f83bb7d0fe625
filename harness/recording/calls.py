"""From a system call that waits to the operation that it is: what it would do below the watched folder, if anything.

Calls on names are done here, on behalf of the caller, so that what they did is known exactly. Calls on descriptors
are read and then left to the kernel. What can be seen but not replayed is "opaque".
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dcp_conformance.harness.recording import kernel
from dcp_conformance.harness.recording.caller import Caller, Descriptor
from dcp_conformance.harness.recording.job import Job, close_quietly

_HERE = 0xFFFFFF9C  # AT_FDCWD as an unsigned argument
_REMOVE_FOLDER, _FOLLOW, _EXCHANGE, _WHITEOUT = 0x200, 0x400, 2, 4
_RWF_SYNCS = 2 | 4  # RWF_DSYNC, RWF_SYNC
_RWF_APPEND = 0x10
_TEMPORARY = os.O_TMPFILE & ~os.O_DIRECTORY
_KEEP_SIZE = 1
_MS_SYNC = 4


@dataclass
class Planned:
    """One operation before it is done."""

    call: str
    path: str
    details: dict[str, Any] = field(default_factory=dict)
    #: Does it in place of the kernel and gives the details that it found, with "descriptor" for an opened file; None:
    #: the kernel does it.
    act: Callable[[], dict[str, Any]] | None = None
    #: Operations that happen with it.
    then: tuple[str, ...] = ()


Arguments = tuple[int, ...]
Decoder = Callable[[Job, Caller, Arguments], Planned | None]


def planned(name: str, job: Job, caller: Caller, arguments: Arguments) -> Planned | None:
    """Return what a system call is going to do to the watched folder; None where it is nothing."""
    return _DECODERS[name](job, caller, arguments)


# -- names ---------------------------------------------------------------------------------------------------------


def _place(job: Job, caller: Caller, folder: int, address: int, *, follow: bool = False) -> tuple[str, str | None]:
    full = job.resolved(caller.path(folder, address), follow=follow)
    name = os.path.basename(full)
    return full, None if name in ("", ".", "..") else job.inside(full)


def _mkdir(job: Job, caller: Caller, folder: int, address: int, mode: int) -> Planned | None:
    full, path = _place(job, caller, folder, address)
    if path is None:
        return None

    def act() -> dict[str, Any]:
        # By full path, which was resolved in the caller's place: the supervisor has another current folder and another
        # umask.
        os.mkdir(full, mode & 0o7777 & ~caller.mask)
        found = os.stat(full)
        # New, since the kernel gives the numbers of removed inodes out again.
        job.file((found.st_dev, found.st_ino), new=True)
        return {}

    return Planned("mkdir", path, act=act)


def _remove(job: Job, caller: Caller, folder: int, address: int, *, is_folder: bool) -> Planned | None:
    full, path = _place(job, caller, folder, address)
    if path is None:
        return None
    return Planned(
        "rmdir" if is_folder else "unlink", path, act=_nothing_found(os.rmdir if is_folder else os.unlink, full)
    )


def _two_names(job: Job, caller: Caller, arguments: Arguments, *, follow: bool = False) -> Any:
    source, path = _place(job, caller, arguments[0], arguments[1], follow=follow)
    target, new = _place(job, caller, arguments[2], arguments[3])
    return source, path, target, new


def _rename(job: Job, caller: Caller, arguments: Arguments, flags: int) -> Planned | None:
    source, path, target, new = _two_names(job, caller, arguments)
    if path is None and new is None:
        return None
    # What comes from outside has bytes that were never seen; what leaves takes seen ones out of sight.
    if path is None or new is None or flags & _WHITEOUT:
        return Planned("opaque", path or new or "", {"target": "a rename across the border of the watched folder"})
    call = "exchange" if flags & _EXCHANGE else "rename"
    return Planned(call, path, {"target": new}, act=_nothing_found(kernel.rename2, source, target, flags))


def _link(job: Job, caller: Caller, arguments: Arguments, flags: int) -> Planned | None:
    source, path, target, new = _two_names(job, caller, arguments, follow=bool(flags & _FOLLOW))
    if new is None:
        return None
    if path is None:
        return Planned("opaque", new, {"target": "a link to a file outside of the watched folder, or without a name"})
    return Planned("link", path, {"target": new}, act=_nothing_found(os.link, source, target, follow_symlinks=False))


def _symlink(job: Job, caller: Caller, content: int, folder: int, address: int) -> Planned | None:
    full, path = _place(job, caller, folder, address)
    if path is None:
        return None
    target = os.fsdecode(kernel.read_string(caller.thread, content))
    return Planned("symlink", path, {"target": target}, act=_nothing_found(os.symlink, target, full))


def _truncate_name(job: Job, caller: Caller, address: int, length: int) -> Planned | None:
    full, path = _place(job, caller, _HERE, address, follow=True)
    if path is None:
        return None
    details: dict[str, Any] = {"offset": length}
    if os.path.exists(full):
        found = os.stat(full)
        details["file"] = job.file((found.st_dev, found.st_ino))
    return Planned("truncate", path, details, act=_nothing_found(os.truncate, full, length))


def _make_node(job: Job, caller: Caller, folder: int, address: int) -> Planned | None:
    _, path = _place(job, caller, folder, address)
    return None if path is None else Planned("opaque", path, {"target": "mknod"})


def _nothing_found(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[], dict[str, Any]]:
    def act() -> dict[str, Any]:
        function(*args, **kwargs)
        return {}

    return act


# -- opening -------------------------------------------------------------------------------------------------------


def _open(job: Job, caller: Caller, folder: int, address: int, flags: int, mode: int) -> Planned | None:
    flags &= 0xFFFFFFFF
    # Reading changes nothing, O_RDONLY with O_TRUNC or O_CREAT does.
    if not flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC):
        return None
    # Like the kernel: with O_EXCL a link in the last place is not followed, but is what stands in the way.
    exclusive = flags & os.O_CREAT and flags & os.O_EXCL
    full = job.resolved(caller.path(folder, address), follow=not (exclusive or flags & os.O_NOFOLLOW))
    path = job.inside(full)
    if path is None:
        return None
    if flags & _TEMPORARY:
        return Planned("opaque", path, {"target": "O_TMPFILE"})
    if os.path.lexists(full) and not stat.S_ISREG(os.lstat(full).st_mode):
        return None  # a folder is refused by the kernel, and a pipe would make the supervisor wait

    def act() -> dict[str, Any]:
        # Looked at just before the open, by the only process through which the job's opens go: nobody of the job comes
        # between.
        existed = os.path.lexists(full)
        size = os.path.getsize(full) if existed else 0
        descriptor = os.open(full, flags | os.O_CLOEXEC, mode & 0o7777 & ~caller.mask)
        found = os.fstat(descriptor)
        file = job.file((found.st_dev, found.st_ino), new=not existed)
        job.opened_as(file, path)
        return {
            "descriptor": descriptor, "inherited": not flags & os.O_CLOEXEC, "file": file, "created": not existed,
            "truncated": bool(flags & os.O_TRUNC and size), "synchronous": bool(flags & os.O_DSYNC),
        }  # fmt: skip

    return Planned("open", path, act=act)


def _open_with_struct(job: Job, caller: Caller, arguments: Arguments) -> Planned | None:
    flags, mode, resolve = struct.unpack("QQQ", caller.memory(arguments[2], 24))
    found = _open(job, caller, arguments[0], arguments[1], flags, mode)
    # RESOLVE_BENEATH and its like cannot be kept by a path that another process has resolved.
    if found is None or not resolve:
        return found
    return Planned("opaque", found.path, {"target": "openat2 with rules for paths"})


# -- descriptors ---------------------------------------------------------------------------------------------------


def _behind(job: Job, caller: Caller, number: int) -> tuple[Descriptor, dict[str, Any], str] | None:
    """Return what a descriptor of the caller is, with its file's number and path; None for one outside."""
    if job.inside(caller.link(number)) is None:
        return None  # most calls: sockets, pipes, logs
    found = caller.descriptor(number)
    if found is None:
        return None
    path = job.inside(found.path)
    file = job.file(found.identity)
    return None if path is None else (found, {"file": file}, job.name(file, path))


def _write(job: Job, caller: Caller, number: int, data: Callable[[], bytes], offset: int | None, flags: int = 0) -> Any:
    behind = _behind(job, caller, number)
    if behind is None or not behind[0].writes:
        return None
    found, details, path = behind
    content = data()
    if not content:
        return None
    # An appending write goes to the end of the file, whatever offset it was given (pwrite(2), BUGS).
    if flags & _RWF_APPEND or found.flags & os.O_APPEND:
        offset = found.size
    details |= {"data": content, "offset": found.position if offset is None else offset}
    return Planned("write", path, details, then=("fsync",) if flags & _RWF_SYNCS else ())


def _write_at(job: Job, caller: Caller, arguments: Arguments, flags: int = 0) -> Any:
    # The upper half of the offset is of use on 32-bit machines only. -1: where the descriptor stands.
    position = struct.unpack("q", struct.pack("Q", arguments[3]))[0]
    data = _vectors(caller, arguments)
    return _write(job, caller, arguments[0], data, None if position == -1 else position, flags)


def _vectors(caller: Caller, arguments: Arguments) -> Callable[[], bytes]:
    return lambda: caller.gathered(arguments[1], arguments[2])


def _bytes(caller: Caller, arguments: Arguments) -> Callable[[], bytes]:
    return lambda: caller.memory(arguments[1], arguments[2])


def _on_descriptor(call: str) -> Decoder:
    def decode(job: Job, caller: Caller, arguments: Arguments) -> Planned | None:
        behind = _behind(job, caller, arguments[0])
        return None if behind is None else Planned(call, behind[2], behind[1])

    return decode


def _close(job: Job, caller: Caller, arguments: Arguments) -> Planned | None:
    behind = _behind(job, caller, arguments[0])
    return Planned("close", behind[2], behind[1]) if behind is not None and behind[0].writes else None


def _truncate(job: Job, caller: Caller, arguments: Arguments) -> Planned | None:
    behind = _behind(job, caller, arguments[0])
    return None if behind is None else Planned("truncate", behind[2], {**behind[1], "offset": arguments[1]})


def _allocate(job: Job, caller: Caller, arguments: Arguments) -> Planned | None:
    number, mode, offset, length = arguments[:4]
    behind = _behind(job, caller, number)
    # Room that is reserved behind the end of a file shows to no reader.
    if behind is None or mode == _KEEP_SIZE:
        return None
    if mode:
        return Planned("opaque", behind[2], {**behind[1], "target": f"fallocate with mode {mode:#x}"})
    # Reserving what is there already changes nothing.
    if offset + length <= behind[0].size:
        return None
    return Planned("truncate", behind[2], {**behind[1], "offset": offset + length})


def _map(job: Job, caller: Caller, arguments: Arguments) -> Planned | None:
    behind = _behind(job, caller, arguments[4])
    if behind is None:
        return None
    return Planned("map", behind[2], {**behind[1], "found": behind[0]})


def _sync_map(job: Job, caller: Caller, arguments: Arguments) -> Planned | None:
    address, length, flags = arguments[:3]
    found = caller.mapped(address) if flags & _MS_SYNC else None
    if found is None or job.inside(found.path) is None or (mapping := job.mappings.of(found.inode)) is None:
        return None
    start = found.offset
    # Which blocks of the file a part covers would have to be modelled for the disk; whole syncs are what stores use.
    if start > 0 or start + length < len(mapping.known):
        return Planned("opaque", mapping.path, {"file": mapping.file, "target": "a sync of a part of a mapping"})
    return Planned("fsync", mapping.path, {"file": mapping.file})


def _clone(job: Job, caller: Caller, arguments: Arguments) -> Planned | None:
    """Refuse to share blocks: most file systems cannot, so whoever asks can also copy, and copies are seen."""
    behind = _behind(job, caller, arguments[0])
    if behind is None:
        return None

    def act() -> dict[str, Any]:
        raise OSError(errno.EOPNOTSUPP, "no blocks are shared while the recorder looks on")

    return Planned("opaque", behind[2], {**behind[1], "target": "blocks of another file"}, act=act)


def _sync_file_system(job: Job, caller: Caller, arguments: Arguments) -> Planned | None:
    found = caller.descriptor(arguments[0])
    same = found is not None and found.identity[0] == os.stat(job.watched).st_dev
    return Planned("syncfs", "") if same else None


def _unseen(what: str) -> Decoder:
    return lambda job, caller, arguments: Planned("opaque", "", {"target": what})


# -- from file to file ---------------------------------------------------------------------------------------------


def _copy(job: Job, caller: Caller, source: int, where: int, target: int, to: int, count: int) -> Planned | None:
    """`count` bytes from one descriptor to another; where, to: addresses of offsets, 0 for the current positions."""
    behind = _behind(job, caller, target)
    if behind is None:
        return None
    found = caller.descriptor(source)
    try:
        # Opened anew: reading through the caller's own descriptor would move its position.
        descriptor = caller.opened(source, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return Planned("opaque", behind[2], {**behind[1], "target": "a copy from something unreadable"})
    try:
        if found is None or not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Planned("opaque", behind[2], {**behind[1], "target": "a copy from a pipe"})
        data = os.pread(descriptor, min(count, 0x7FFFF000), caller.number_at(where) if where else found.position)
    finally:
        close_quietly(descriptor)
    return _write(job, caller, target, lambda: data, caller.number_at(to) if to else None)  # type: ignore[no-any-return]


_DECODERS: Mapping[str, Decoder] = {
    "open": lambda job, who, a: _open(job, who, _HERE, a[0], a[1], a[2]),
    "creat": lambda job, who, a: _open(job, who, _HERE, a[0], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, a[1]),
    "openat": lambda job, who, a: _open(job, who, a[0], a[1], a[2], a[3]),
    "openat2": _open_with_struct,
    "mkdir": lambda job, who, a: _mkdir(job, who, _HERE, a[0], a[1]),
    "mkdirat": lambda job, who, a: _mkdir(job, who, a[0], a[1], a[2]),
    "rmdir": lambda job, who, a: _remove(job, who, _HERE, a[0], is_folder=True),
    "unlink": lambda job, who, a: _remove(job, who, _HERE, a[0], is_folder=False),
    "unlinkat": lambda job, who, a: _remove(job, who, a[0], a[1], is_folder=bool(a[2] & _REMOVE_FOLDER)),
    "rename": lambda job, who, a: _rename(job, who, (_HERE, a[0], _HERE, a[1]), 0),
    "renameat": lambda job, who, a: _rename(job, who, a, 0),
    "renameat2": lambda job, who, a: _rename(job, who, a, a[4]),
    "link": lambda job, who, a: _link(job, who, (_HERE, a[0], _HERE, a[1]), 0),
    "linkat": lambda job, who, a: _link(job, who, a, a[4]),
    "symlink": lambda job, who, a: _symlink(job, who, a[0], _HERE, a[1]),
    "symlinkat": lambda job, who, a: _symlink(job, who, a[0], a[1], a[2]),
    "truncate": lambda job, who, a: _truncate_name(job, who, a[0], a[1]),
    "mknod": lambda job, who, a: _make_node(job, who, _HERE, a[0]),
    "mknodat": lambda job, who, a: _make_node(job, who, a[0], a[1]),
    "write": lambda job, who, a: _write(job, who, a[0], _bytes(who, a), None),
    "pwrite64": lambda job, who, a: _write(job, who, a[0], _bytes(who, a), a[3]),
    "writev": lambda job, who, a: _write(job, who, a[0], _vectors(who, a), None),
    "pwritev": lambda job, who, a: _write_at(job, who, a),
    "pwritev2": lambda job, who, a: _write_at(job, who, a, a[5]),
    "ftruncate": _truncate,
    "fallocate": _allocate,
    "fsync": _on_descriptor("fsync"),
    "fdatasync": _on_descriptor("fsync"),
    "syncfs": _sync_file_system,
    "sync": lambda job, who, a: Planned("sync", ""),
    "close": _close,
    "mmap": _map,
    "msync": _sync_map,
    "ioctl": _clone,
    "sendfile": lambda job, who, a: _copy(job, who, a[1], a[2], a[0], 0, a[3]),
    "copy_file_range": lambda job, who, a: _copy(job, who, a[0], a[1], a[2], a[3], a[4]),
    "splice": lambda job, who, a: _copy(job, who, a[0], a[1], a[2], a[3], a[4]),
    "io_uring_setup": _unseen("io_uring"),
    "io_submit": _unseen("asynchronous input and output of the kernel"),
}
