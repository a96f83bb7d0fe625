"""A process of its own that says whether files have changed: it never imported a backend, so no backend speaks for it.

Run as a program it reads folders from its standard input, a line each, and answers with a digest of all that is there.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator


class Witness:
    """The process, started when it is first asked. Close it: it waits for questions."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def digest(self, place: str) -> str:
        """Return the digest of what lies at or below a path: names and bytes. "" where nothing is."""
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(os.fsencode(place).hex() + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    def close(self) -> None:
        """End the process; may be called again."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            words = [sys.executable, "-I", "-S", __file__]
            self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self._process


def _digest(place: bytes) -> str:
    whole, anything = hashlib.sha256(), False
    for path in sorted(_paths(os.path.realpath(place))):
        anything = True
        whole.update(path + b"\0" + _content(path))
    return whole.hexdigest() if anything else ""


def _paths(place: bytes) -> Iterator[bytes]:
    if os.path.isfile(place):
        yield place
    for folder, folders, files in os.walk(place):
        yield from (os.path.join(folder, name) for name in (*files, *folders))


def _content(path: bytes) -> bytes:
    try:
        # A pipe or a device must not make it wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return str(error.errno).encode()
    try:
        found, at = hashlib.sha256(), 0
        while stat.S_ISREG(os.fstat(descriptor).st_mode) and (part := os.pread(descriptor, 1 << 20, at)):
            found.update(part)
            at += len(part)
        return found.digest()
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    for line in sys.stdin:
        print(_digest(bytes.fromhex(line.strip())), flush=True)
