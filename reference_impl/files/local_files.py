"""A checkpoint folder on a local file system: creating, syncing and committing files, and reading them in ranges."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Hashable, Iterator
from typing import IO, Any

from dcp_conformance.reference_impl.errors import CorruptCheckpointError
from dcp_conformance.reference_impl.files.naming import temporary_name

try:
    import fcntl
except ImportError:  # not a POSIX system: commits of two processes to one folder are then not serialised
    fcntl = None  # type: ignore[assignment]

#: Seconds to wait for another process that is just committing to the same folder.
_LOCK_PATIENCE = 60.0
#: Bytes at the end of a file that tell it from another: the digest at the end of our metadata.
_TAIL = 32


class LocalFiles:
    """Files in one folder. ``sync`` False leaves it to the operating system when bytes reach the disk."""

    def __init__(self, folder: str, *, sync: bool = True) -> None:
        self.folder = folder
        self.sync = sync

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    # -- writing ---------------------------------------------------------------------------------------------------

    def make_folder(self) -> None:
        """Create the folder with its parents, durably. Raises NotADirectoryError naming a file that is in the way."""
        missing = []
        current = self.folder
        # Found out before they are made: each new folder's name has to be made durable in its parent.
        while not os.path.isdir(current):
            # Asked again, and after lexists: another rank may have made the folder between the two questions.
            if os.path.lexists(current) and not os.path.islink(current) and not os.path.isdir(current):
                raise NotADirectoryError(errno.ENOTDIR, "the checkpoint id names a file, not a folder", current)
            missing.append(current)
            parent = os.path.dirname(current)
            if parent == current:
                break
            current = parent
        os.makedirs(self.folder, exist_ok=True)
        for made in reversed(missing):
            self._sync_path(os.path.dirname(made))

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Open a new file for writing; it is flushed, synced and closed at the end, removed if anything fails.

        Raises FileExistsError rather than open a file that exists: nothing is ever written over.
        """
        path = self.path(name)
        stream = open(path, "xb")  # noqa: SIM115 - closed below, and its failure to close has to be seen
        try:
            try:
                yield stream
                # Before the fsync, which knows nothing of Python's buffer: torch's writer syncs its metadata while they
                # are still in it.
                stream.flush()
                if self.sync:
                    os.fsync(stream.fileno())
            finally:
                stream.close()
        except BaseException:
            with contextlib.suppress(OSError):  # the failure that led here is the one to report
                os.unlink(path)
            raise

    def publish(self, name: str, data: bytes, token: str) -> None:
        """Make ``name`` hold ``data`` in one step: at every moment it is the old file or the whole new one.

        The step itself is durable only after ``sync_folder``. A network file system may do a rename and lose the
        answer, and then report it as failed: what counts is what is there.
        """
        temporary = temporary_name(name, token)
        with self.create(temporary) as stream:
            stream.write(data)
        try:
            # Over the old file and without removing it before: a crash in between would leave neither.
            os.replace(self.path(temporary), self.path(name))
        except BaseException as error:
            if isinstance(error, OSError) and self.holds(name, data):
                return
            with contextlib.suppress(OSError):
                os.unlink(self.path(temporary))
            raise

    def holds(self, name: str, data: bytes) -> bool:
        """Tell whether the file ``name`` is there and holds exactly ``data``."""
        try:
            with open(self.path(name), "rb") as stream:
                return os.fstat(stream.fileno()).st_size == len(data) and stream.read() == data
        except OSError:
            return False

    def remove(self, name: str) -> None:
        """Remove a file; one that is already gone is fine."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name))

    def sync_folder(self) -> None:
        """Make names that were created, renamed or removed durable."""
        self._sync_path(self.folder)

    def _sync_path(self, path: str) -> None:
        if not self.sync or os.name != "posix":
            return
        # An fsync of a file makes its bytes durable and not its name, which belongs to the folder.
        descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def commit_lock(self) -> Iterator[bool]:
        """Held while a save commits. Gives False where the file system has no locks, and nothing is held."""
        if fcntl is None:
            yield False
            return
        # The folder itself is locked: a lock file would be one more file in the checkpoint, and could be left behind.
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            yield self._lock(descriptor)
        finally:
            os.close(descriptor)  # releases the lock too

    def _lock(self, descriptor: int) -> bool:
        deadline = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                # Without waiting in the kernel, where no limit could end it.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"another save has been committing to {self.folder} for too long") from None
                time.sleep(0.01)
            except OSError:  # ENOLCK, ENOTSUP, EBADF: this file system, or this mount of it, has no locks
                return False

    # -- looking ---------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the names of the regular files in the folder; empty where it does not exist."""
        try:
            with os.scandir(self.folder) as entries:
                return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
        except FileNotFoundError:
            return []

    def identity(self, name: str) -> Hashable | None:
        """Return something that changes whenever the file is replaced; None where it does not exist.

        Its last bytes belong to it, which of our metadata are a digest: a new file may get the inode of the one
        before it, and clocks of file systems stand still for milliseconds.
        """
        path = self.path(name)
        try:
            found = os.stat(path)
            tail = _last_bytes(path, found.st_size) if stat.S_ISREG(found.st_mode) else b""
        except (FileNotFoundError, NotADirectoryError):
            return None
        return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, tail)

    def open(self, name: str) -> LocalBlob:
        """Return a file for reading. Raises CorruptCheckpointError for a name that leads out of the folder."""
        path = self.path(name)
        root = os.path.realpath(self.folder)
        # By real paths: a link inside of the folder leads out of it as well as `..` does.
        if os.path.isabs(name) or os.path.commonpath([root, os.path.realpath(path)]) != root:
            raise CorruptCheckpointError(f"the metadata names the file {name!r}, which lies outside of the checkpoint")
        return LocalBlob(path)


class LocalBlob:
    """A file that is read in ranges."""

    def __init__(self, path: str) -> None:
        self.name = os.path.basename(path)
        self._stream = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        found = os.fstat(self._stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            self._stream.close()
            raise CorruptCheckpointError(f"{self.name!r} is not a regular file")
        self.size = found.st_size

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill ``target`` with the bytes at ``offset``. Raises CorruptCheckpointError where the file ends before."""
        self._stream.seek(offset)
        done = 0
        while done < len(target):
            # One call may give less than was asked for (2 GiB at most, signals, network file systems).
            count = self._stream.readinto(target[done:])
            if not count:
                raise CorruptCheckpointError(f"the file {self.name!r} ends at byte {offset + done}, more is needed")
            done += count

    def read(self, offset: int, length: int) -> bytearray:
        """Return the ``length`` bytes at ``offset``."""
        data = bytearray(length)
        self.read_into(memoryview(data), offset)
        return data

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> LocalBlob:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _last_bytes(path: str, size: int) -> bytes:
    with open(path, "rb") as stream:
        stream.seek(max(0, size - _TAIL))
        return stream.read(_TAIL)


def resolve_folder(checkpoint_id: str | os.PathLike[str]) -> str:
    """Return the absolute path that an id means now: a later change of directory does not matter.

    ``..`` is followed as the file system would (through links), everything else is kept as it is written.
    """
    path = os.fspath(checkpoint_id)
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    return os.path.realpath(path) if ".." in path.split(os.sep) else os.path.abspath(path)


def usable_folder(checkpoint_id: Any, *, writing: bool) -> bool:
    """Tell whether an id can name a local folder. Never raises and changes nothing."""
    if not isinstance(checkpoint_id, (str, os.PathLike)):
        return False
    try:
        path = os.fspath(checkpoint_id)
        if not isinstance(path, str) or not path.strip() or "\0" in path:
            return False
        # An address, which abspath would turn into a folder called `s3:` below the current one.
        if "://" in path and isinstance(checkpoint_id, str):
            return False
        folder = resolve_folder(path)
        # The root of the file system is nobody's checkpoint.
        if os.path.dirname(folder) == folder:
            return False
        if not writing and os.path.isdir(folder):
            return True
        while not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        return os.access(folder, os.W_OK if writing else os.R_OK)
    except (OSError, ValueError):
        return False
