"""Ways to write files, from Python down to bare system calls: `python -m tests.recording.writers FOLDER`.

Records each of them below FOLDER in one process, since the filter cannot be taken off and importing torch costs
seconds. Each recording is FOLDER/<name>.recording, or FOLDER/<name>.missing where the means is not installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from dcp_conformance.harness.recording import syscalls
from dcp_conformance.harness.recording.client import link

DATA = bytes(range(256)) * 40
_libc = ctypes.CDLL(None, use_errno=True)


def python_file(folder: Path) -> None:
    with open(folder / "a", "wb") as stream:
        stream.write(DATA)
        stream.flush()
        os.fsync(stream.fileno())
        stream.seek(7)
        stream.write(b"seven")
    with open(folder / "a", "ab") as stream:
        stream.write(b"tail")


def os_calls(folder: Path) -> None:
    descriptor = os.open(folder / "a", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, DATA)
    os.pwrite(descriptor, b"middle", 100)
    os.writev(descriptor, [b"one", b"two"])
    os.pwritev(descriptor, [b"x", b"yy"], 3)
    os.ftruncate(descriptor, 5000)
    os.fdatasync(descriptor)
    os.close(descriptor)
    os.truncate(folder / "a", 4000)


def synchronous_writes(folder: Path) -> None:
    descriptor = os.open(folder / "a", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
    os.write(descriptor, DATA)
    os.close(descriptor)
    descriptor = os.open(folder / "b", os.O_WRONLY | os.O_CREAT)
    os.pwritev(descriptor, [DATA], 0, os.RWF_DSYNC)
    os.close(descriptor)


def names(folder: Path) -> None:
    (folder / "new" / "deep").mkdir(parents=True)
    (folder / "new" / "deep" / "a").write_bytes(DATA)
    os.rename(folder / "new", folder / "moved")
    os.link(folder / "moved" / "deep" / "a", folder / "b")
    os.symlink("moved/deep", folder / "current")
    (folder / "current" / "through").write_bytes(b"link")
    (folder / "b").unlink()
    (folder / "empty").mkdir()
    (folder / "empty").rmdir()
    os.replace(folder / "current" / "through", folder / "replaced")


def relative_names(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.mkdir("sub", dir_fd=handle)
    descriptor = os.open("sub/a", os.O_WRONLY | os.O_CREAT, dir_fd=handle)
    os.write(descriptor, DATA)
    os.close(descriptor)
    os.rename("sub/a", "b", src_dir_fd=handle, dst_dir_fd=handle)
    os.fsync(handle)
    os.close(handle)
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("c").write_bytes(b"from here")
    finally:
        os.chdir(before)


def exchanged_names(folder: Path) -> None:
    (folder / "a").write_bytes(b"a")
    (folder / "b").write_bytes(b"b")
    here = ctypes.c_int(-100)
    source, target = bytes(folder / "a"), bytes(folder / "b")
    if _libc.syscall(syscalls.numbers()["renameat2"], here, source, here, target, 2):
        raise OSError(ctypes.get_errno(), "renameat2")


def c_streams(folder: Path) -> None:
    _libc.fopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(_libc.fopen(bytes(folder / "a"), b"w"))
    _libc.fwrite(DATA, 1, len(DATA), stream)
    _libc.fclose(stream)


def bare_system_calls(folder: Path) -> None:
    known = syscalls.numbers()
    number = _libc.syscall(known["openat"], ctypes.c_int(-100), bytes(folder / "a"), os.O_WRONLY | os.O_CREAT, 0o644)
    _libc.syscall(known["write"], number, DATA, len(DATA))
    _libc.syscall(known["close"], number)


def sendfile(folder: Path) -> None:
    (folder / "a").write_bytes(DATA)
    with open(folder / "a", "rb", buffering=0) as source, open(folder / "b", "wb", buffering=0) as target:
        os.sendfile(target.fileno(), source.fileno(), 10, 1000)


def copy_file_range(folder: Path) -> None:
    (folder / "a").write_bytes(DATA)
    with open(folder / "a", "rb", buffering=0) as source, open(folder / "b", "wb", buffering=0) as target:
        os.copy_file_range(source.fileno(), target.fileno(), 2000)
        os.copy_file_range(source.fileno(), target.fileno(), 50, 7, 3)


def preallocated(folder: Path) -> None:
    with open(folder / "a", "wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, 5000)
        stream.write(DATA[:1000])


def removed_while_open(folder: Path) -> None:
    with open(folder / "a", "wb", buffering=0) as stream:
        os.unlink(folder / "a")
        stream.write(DATA)
        (folder / "b").write_bytes(b"perhaps in the same inode")


def database(folder: Path) -> None:
    connection = sqlite3.connect(folder / "db")
    connection.execute("CREATE TABLE t (x BLOB)")
    connection.execute("INSERT INTO t VALUES (?)", (DATA,))
    connection.commit()
    connection.close()


def threads(folder: Path) -> None:
    workers = [threading.Thread(target=(folder / f"{n}").write_bytes, args=(DATA,)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def forked_child(folder: Path) -> None:
    child = os.fork()
    if not child:
        (folder / "a").write_bytes(DATA)
        os._exit(0)
    os.waitpid(child, 0)


def started_program(folder: Path) -> None:
    (folder / "a").write_bytes(DATA)
    subprocess.run(["cp", folder / "a", folder / "b"], check=True)


def torch_file(folder: Path) -> None:
    import torch

    torch.save({"t": torch.arange(1000)}, str(folder / "a"))  # a path: written by C++


def rust_file(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"t": torch.arange(1000)}, str(folder / "a"))


def numpy_file(folder: Path) -> None:
    import numpy

    numpy.arange(1000).tofile(str(folder / "a"))


def mapped_memory(folder: Path) -> None:
    with open(folder / "a", "w+b") as stream:
        stream.truncate(4096)
        with mmap.mmap(stream.fileno(), 4096) as mapped:
            mapped[10:20] = b"0123456789"
            mapped.flush()
            mapped[2000:2010] = b"9876543210"
        os.pwrite(stream.fileno(), b"by a call", 3000)
        with mmap.mmap(stream.fileno(), 0) as mapped:
            stream.truncate(8192)
            mapped[4090:] = b"behind"
            os.pwrite(stream.fileno(), b"between", 1000)
            mapped[1003:1005] = b"--"


def numpy_map(folder: Path) -> None:
    import numpy

    mapped = numpy.memmap(folder / "a", dtype="float64", mode="w+", shape=(3000,))
    mapped[:] = numpy.arange(3000)
    mapped.flush()


def shared_index(folder: Path) -> None:
    """SQLite with a write-ahead log has an index of it in shared memory."""
    with contextlib.closing(sqlite3.connect(folder / "a")) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table t (x)")
        database.executemany("insert into t values (?)", [(DATA,)] * 20)
        database.commit()


def part_of_a_mapping(folder: Path) -> None:
    with open(folder / "a", "w+b") as stream:
        stream.truncate(2 * mmap.PAGESIZE)
        with mmap.mmap(stream.fileno(), 0) as mapped:
            mapped[:] = b"x" * len(mapped)
            mapped.flush(0, mmap.PAGESIZE)


def nameless_file(folder: Path) -> None:
    descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY)
    os.write(descriptor, DATA)
    os.link(f"/proc/self/fd/{descriptor}", folder / "a", src_dir_fd=descriptor)  # only so does it follow the link
    os.close(descriptor)


def kernel_ring(folder: Path) -> None:
    (folder / "a").write_bytes(DATA)
    # What an io_uring writer begins with; where the kernel has it switched off, the call fails and is seen.
    found = _libc.syscall(syscalls.numbers()["io_uring_setup"], 4, ctypes.create_string_buffer(120))
    if found >= 0:
        os.close(found)


SEEN: tuple[Callable[[Path], None], ...] = (
    python_file, os_calls, synchronous_writes, names, relative_names, exchanged_names, c_streams, bare_system_calls,
    sendfile, copy_file_range, preallocated, removed_while_open, database, threads, forked_child, started_program,
    torch_file, rust_file, numpy_file, mapped_memory, numpy_map, shared_index,
)  # fmt: skip
# What no recording can hold; it says so.
DECLARED: tuple[Callable[[Path], None], ...] = (part_of_a_mapping, nameless_file, kernel_ring)


def main(base: Path) -> None:
    """Record each writer."""
    here = link(str(base / "socket"), 0, start=True)
    for writer in (*SEEN, *DECLARED):
        folder, name = base / writer.__name__, writer.__name__
        folder.mkdir()
        try:
            with here.watch(str(folder), world=1, path=str(base / f"{name}.recording")):
                writer(folder)
        except ImportError as error:
            (base / f"{name}.missing").write_text(str(error))
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
