"""A real power cut: an ext4 file system of its own in an image file, shut down without flushing its journal.

What was on the "disk" at that moment is all that a later mount finds after it has replayed the journal. Needs root, a
loop device and mkfs.ext4. Everything is mounted in a mount namespace of the calling process (and of what it starts
afterwards), so that the kernel unmounts and detaches all of it when the process ends, however it ends.

What it cannot see: disks that lie about what they have stored, and other file systems than ext4.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

# With a smaller image ext4 turns delayed allocation off, and what was not synced is not lost any more. It is sparse.
IMAGE_SIZE = 600 << 20
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2
_NEW_MOUNT_NAMESPACE = 0x00020000
_PRIVATE_AND_BELOW = (1 << 18) | (1 << 14)
_PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


class Unavailable(Exception):
    """Such a disk cannot be had here; the text says why."""


def own_mounts() -> None:
    """From now on, what this thread mounts is seen by itself and by what it starts only.

    Raises Unavailable where the process may not mount, or a program is missing.
    """
    for program in ("mkfs.ext4", "mount"):
        if shutil.which(program, path=_PLACES) is None:
            raise Unavailable(f"there is no {program}")
    if not Path("/dev/loop-control").exists():
        raise Unavailable("there are no loop devices")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNT_NAMESPACE) or libc.mount(b"none", b"/", None, _PRIVATE_AND_BELOW, None):
        raise Unavailable(f"this process may not mount anything ({os.strerror(ctypes.get_errno())})")


@contextlib.contextmanager
def _our_business() -> Iterator[None]:
    """Turn what the system refuses to do for such a disk into Unavailable: it is no fault of a backend."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the system does not let it be done ({error})") from error


class Disk:
    """An ext4 file system in an image file below `folder`, mounted at `place`; call `own_mounts` before.

    All of its methods raise Unavailable where the system does not let them be done.
    """

    def __init__(self, folder: str | os.PathLike[str], name: str) -> None:
        self.image, self.place = Path(folder, f"{name}.img"), Path(folder, name)
        with _our_business(), open(self.image, "wb") as file:
            file.truncate(IMAGE_SIZE)
            self.place.mkdir()
        _run("mkfs.ext4", "-q", "-F", str(self.image))
        _run("mount", "-o", "loop", str(self.image), str(self.place))

    def settle(self) -> None:
        """Bring everything that was written so far to the disk."""
        with self._opened() as opened:
            if ctypes.CDLL(None, use_errno=True).syncfs(opened):
                raise OSError(ctypes.get_errno(), "syncfs failed")

    def cut(self) -> None:
        """Cut the power: nothing more reaches the disk, nor does what the file system still had in memory."""
        with self._opened() as opened:
            # Without flushing the journal, or everything up to now would be saved by the cut itself.
            fcntl.ioctl(opened, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))

    def restart(self) -> None:
        """Put what a mount of the disk finds now, as plain files, at the same place, for every process to see."""
        copy, found = self.image.with_suffix(".after"), self.place.with_suffix(".found")
        # A copy: a store may still have files open, so that the disk itself could not be unmounted.
        _run("cp", "--sparse=always", str(self.image), str(copy))
        # Lazily: descriptors of the store keep the old file system alive, and its place is needed for what a mount
        # finds.
        _run("umount", "--lazy", str(self.place))
        with _our_business():
            found.mkdir()
            _run("mount", "-o", "loop", str(copy), str(found))
            shutil.copytree(found, self.place, symlinks=True, dirs_exist_ok=True, ignore=_lost_and_found)
            _run("umount", "--lazy", str(found))
            for image in (copy, self.image):
                image.unlink()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        with _our_business():
            opened = os.open(self.place, os.O_RDONLY)
            try:
                yield opened
            finally:
                os.close(opened)


def _lost_and_found(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "lost+found"]


def _run(program: str, *words: str) -> None:
    path = shutil.which(program, path=_PLACES) or program
    done = subprocess.run([path, *words], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Unavailable(f"{program} failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
