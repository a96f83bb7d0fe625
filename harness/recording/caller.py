"""The process that made a call, looked at from outside: its paths, its descriptors, its memory."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dcp_conformance.harness.recording import kernel

_HERE = -100  # AT_FDCWD
_MOST = 0x7FFFF000  # bytes that one write takes at most, see write(2)
_DELETED = " (deleted)"
_RIGHTS = ("Uid", "Gid", "CapEff")
_LINES = re.compile(r"^(Umask|Tgid|Uid|Gid|CapEff):\s*(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Descriptor:
    """What a descriptor of the caller refers to."""

    #: By which it is known now, or was until it was removed.
    path: str
    position: int
    flags: int
    identity: tuple[int, int]  # device, inode
    size: int

    @property
    def writes(self) -> bool:
        """Whether it was opened for writing."""
        return self.flags & os.O_ACCMODE != os.O_RDONLY


@dataclass(frozen=True)
class Mapped:
    """The file behind an address of the caller."""

    path: str
    inode: int
    #: Of the address in the file.
    offset: int


class Caller:
    """One thread that waits in a call."""

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self._folder = f"/proc/{thread}"

    @cached_property
    def status(self) -> dict[str, str]:
        """The lines of /proc/<thread>/status that matter here."""
        text = Path(self._folder, "status").read_text(encoding="utf-8", errors="replace")
        return dict(_LINES.findall(text))

    @property
    def process(self) -> int:
        """The process that the thread belongs to."""
        return int(self.status["Tgid"])

    @property
    def mask(self) -> int:
        """The umask."""
        return int(self.status["Umask"], 8)

    def has_rights_of(self, other: Caller) -> bool:
        """Tell whether both act with the same user, group and privileges."""
        # Calls on names are done by the supervisor: with other rights it could do what the caller may not.
        return all(self.status[name] == other.status[name] for name in _RIGHTS)

    def path(self, folder: int, address: int) -> str:
        """Return the absolute path that a call means by a descriptor of a folder (or AT_FDCWD) and a string."""
        name = os.fsdecode(kernel.read_string(self.thread, address))
        # The kernel looks at the lower half of the register only; what a caller left in the upper one means nothing.
        number = struct.unpack("i", struct.pack("I", folder & 0xFFFFFFFF))[0]
        base = "cwd" if number == _HERE else f"fd/{number}"
        return name if os.path.isabs(name) else os.path.join(os.readlink(f"{self._folder}/{base}"), name)

    def descriptor(self, number: int) -> Descriptor | None:
        """Return what is behind a descriptor; None where there is none."""
        number &= 0xFFFFFFFF
        try:
            path = os.readlink(f"{self._folder}/fd/{number}")
            found = os.stat(f"{self._folder}/fd/{number}")
            lines = Path(self._folder, f"fdinfo/{number}").read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        identity = (found.st_dev, found.st_ino)
        return Descriptor(path.removesuffix(_DELETED), int(info["pos"]), int(info["flags"], 8), identity, found.st_size)

    def link(self, number: int) -> str:
        """Return where a descriptor leads, "" where there is none: the quick look that most calls end with."""
        try:
            return os.readlink(f"{self._folder}/fd/{number & 0xFFFFFFFF}")
        except OSError:
            return ""

    def mapped(self, address: int) -> Mapped | None:
        """Return the file that is mapped at an address."""
        for line in Path(self._folder, "maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            place, _, offset, _, inode, *name = line.split(maxsplit=5)
            low, high = (int(word, 16) for word in place.split("-"))
            if low <= address < high:
                path = (name[0] if name else "").removesuffix(_DELETED)
                return Mapped(path, int(inode), int(offset, 16) + address - low)
        return None

    def opened(self, number: int, flags: int) -> int:
        """Return a descriptor of this process for the file behind one of the caller's, opened anew."""
        return os.open(f"{self._folder}/fd/{number & 0xFFFFFFFF}", flags | os.O_CLOEXEC)

    def memory(self, address: int, length: int) -> bytes:
        """Return the bytes that the caller hands over. OSError where they cannot be read in full."""
        wanted = min(length, _MOST)
        data = kernel.read_memory(self.thread, address, wanted)
        # A part of the data would be recorded as a write that never was; the recording says instead that it is blind.
        if len(data) != wanted:
            raise OSError(f"{len(data)} of {wanted} bytes could be read at {address:#x} of process {self.thread}")
        return data

    def gathered(self, address: int, count: int) -> bytes:
        """Return the bytes that an array of `struct iovec` names."""
        pairs = struct.iter_unpack("QQ", self.memory(address, 16 * count))
        return b"".join(self.memory(base, length) for base, length in pairs if length)[:_MOST]

    def number_at(self, address: int) -> int:
        """Return a 64-bit number in the caller's memory."""
        return int(struct.unpack("q", self.memory(address, 8))[0])
