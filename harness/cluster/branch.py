"""Branches of a fork server: how a second driving process comes by a server that has imported everything already."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path


class Branch:
    """A branch's process. It is not our child, so we hold a pidfd: its number cannot be reused under us."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        #: None once it was seen to have ended.
        self._descriptor: int | None = os.pidfd_open(pid)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. The exit code is its parent's to know: this is 0 in any case.

        Raises:
            subprocess.TimeoutExpired: it has not ended after `timeout` seconds.
        """
        if self._descriptor is not None:
            # A pidfd becomes readable when its process ends; waitpid is for parents only.
            if not select.select([self._descriptor], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"branch {self.pid}", timeout or 0.0)
            os.close(self._descriptor)
            self._descriptor = None
        return 0

    def kill(self) -> None:
        """SIGKILL, unless it is gone already."""
        if self._descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)


def listen(place: Path) -> socket.socket:
    """Return a listening socket at this path, which may be longer than the 108 bytes of a socket address."""
    place.unlink(missing_ok=True)  # of a server that was lost
    listener = socket.socket(socket.AF_UNIX)
    _by_short_name(place, listener.bind)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def connect(place: Path) -> socket.socket:
    """Return a connection to the server that listens there. Raises OSError when there is none."""
    end = socket.socket(socket.AF_UNIX)
    try:
        _by_short_name(place, end.connect)
    except OSError:
        end.close()
        raise
    return end


def _by_short_name(place: Path, use: Callable[[str], object]) -> None:
    # Not chdir: that would be seen by every thread of this process.
    folder = os.open(place.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        use(f"/proc/self/fd/{folder}/{place.name}")
    finally:
        os.close(folder)
