"""Files that ranks write through shared memory: no call carries those bytes, so they are looked for before each call.

What is found changed since the last look is noted as writes of the rank that made the mapping. So the order is known
as far as calls tell it: all stores between two calls of the job count as one moment, before the second of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from dcp_conformance.harness.recording import kernel
from dcp_conformance.harness.recording.caller import Caller, Descriptor

# Stores are told apart by so many bytes: what the smallest disks write whole.
_BLOCK = 512


@dataclass
class Mapping:
    """One mapped file."""

    rank: int
    thread: int
    file: int
    path: str
    identity: tuple[int, int]
    #: Of this process, for the same file.
    descriptor: int
    #: Its content as far as it is noted.
    known: bytes


@dataclass
class Mappings:
    """All files that are, or were, mapped during one recording, by the number of the file."""

    by_file: dict[int, Mapping] = field(default_factory=dict)

    def add(self, caller: Caller, rank: int, number: int, found: Descriptor, file: int, path: str) -> None:
        """Take in what a rank is about to map: the file behind its descriptor `number`. OSError if unreadable."""
        if file not in self.by_file:
            # A descriptor of our own: the caller may close its own at once and go on storing through the mapping.
            descriptor = kernel.descriptor_of(caller.process, number & 0xFFFFFFFF)
            content = _content(descriptor)
            self.by_file[file] = Mapping(rank, caller.thread, file, path, found.identity, descriptor, content)

    def changes(self) -> Iterator[tuple[Mapping, int, bytes]]:
        """(the mapping, offset, bytes) of all that was stored since the last look."""
        for mapping in self.by_file.values():
            now = _content(mapping.descriptor)
            # Another length comes from a call, which is noted by itself; comparing across it would note its bytes
            # twice.
            if now != mapping.known and len(now) == len(mapping.known):
                yield from ((mapping, start, now[start:stop]) for start, stop in _ranges(mapping.known, now))
            mapping.known = now

    def follow(self, call: str, file: int, offset: int, data: bytes) -> None:
        """Take in a call that is about to write to a mapped file or to set its length: that is no store."""
        mapping = self.by_file.get(file)
        if mapping is not None and call == "write":
            known = mapping.known.ljust(offset, b"\0")
            mapping.known = known[:offset] + data + known[offset + len(data) :]
        elif mapping is not None and call == "truncate":
            mapping.known = mapping.known[:offset].ljust(offset, b"\0")

    def of(self, inode: int) -> Mapping | None:
        """Return the mapping of a file."""
        return next((each for each in self.by_file.values() if each.identity[1] == inode), None)

    def close(self) -> None:
        """Let the files go."""
        for mapping in self.by_file.values():
            os.close(mapping.descriptor)
        self.by_file.clear()


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _ranges(before: bytes, now: bytes) -> Iterator[tuple[int, int]]:
    """Yield where two contents of one length differ, in whole blocks."""
    start = None
    for at in range(0, len(now), _BLOCK):
        differs = before[at : at + _BLOCK] != now[at : at + _BLOCK]
        if differs and start is None:
            start = at
        elif not differs and start is not None:
            yield start, at
            start = None
    if start is not None:
        yield start, len(now)
