"""Append-only files of JSON lines that only the holder of a key can write, and that show what was done to them.

The code under test runs as the same user as its judge, and no file can be kept from it. So each line ends with a seal
over the line and the seal before it, made with a key that lies in the memory of the judging processes only: what others
add, change, reorder or cut away does not fit, and is told. (Who reads the memory of the judge has the key.)
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGEST = 1 << 30  # bytes of one file; a run of all levels that fails everywhere writes a hundredth
_MOST_SAID = 3


class SealedLines:
    """One process's file. `last`: the seal of its last line, which the reader may be told by another way."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._key, self.last = key, ""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> SealedLines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, data: Mapping[str, Any]) -> None:
        """Write one line with one system call; nothing may be pending when the process is killed."""
        self.last = _seal(self._key, self.last, data)
        # ASCII only: a name with undecodable bytes (a lone surrogate) must not stop the log.
        rest = (json.dumps({**data, "seal": self.last}) + "\n").encode("ascii")
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass
class Reading:
    """What reading one file showed."""

    path: Path
    key: bytes
    last: str = ""
    #: Sentences about what was not written by the holder of the key, or is missing of what was.
    foreign: list[str] = field(default_factory=list)
    #: What was tolerated.
    notes: list[str] = field(default_factory=list)
    _strange: int = 0

    def events(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the lines that hold, without their seals, with their numbers."""
        lines = self._content().split(b"\n")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            event = self._opened(line)
            if event is not None:
                yield number, event
            elif number == len(lines):  # only the very last line can be torn, and then it lacks its newline
                self.notes.append(f"{self.path.name}: the last line is torn; its process was stopped while writing.")
            else:
                self._strange += 1
                if self._strange <= _MOST_SAID:
                    self.foreign.append(f"{self.path.name}, line {number}: not written by the judge of this run.")

    def ends_with(self, seal: str) -> None:
        """Note what is missing, where the file does not end with the line that its writer wrote last."""
        if self.last != seal:
            self.foreign.append(f"{self.path.name}: lines that the judge of this run wrote are not there any more.")

    def _opened(self, line: bytes) -> dict[str, Any] | None:
        try:
            event = json.loads(line)
            seal = event.pop("seal")
            if not hmac.compare_digest(str(seal), _seal(self.key, self.last, event)):
                return None
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            return None
        self.last = seal
        return dict(event)

    def _content(self) -> bytes:
        try:
            return read_regular(self.path, LARGEST)
        except (OSError, ValueError) as error:
            self.foreign.append(f"{self.path.name}: no file of the judge's any more ({error}).")
            return b""


def read_regular(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file.

    Raises ValueError for a link, a pipe, a device or more than `most` bytes, which a backend may have put in the place
    of a file of ours; opening does not wait for any of them.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        if found.st_size > most:
            raise ValueError(f"it has {found.st_size} bytes")
        return file.read(most)


def _seal(key: bytes, before: str, data: Mapping[str, Any]) -> str:
    text = json.dumps([before, data], separators=(",", ":"))
    return hmac.new(key, text.encode("ascii"), hashlib.sha256).hexdigest()
