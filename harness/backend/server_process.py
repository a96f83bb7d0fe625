"""A server program on loopback, for the time of a run: a folder and ports of its own, dead with whoever started it."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from dcp_conformance.harness.cluster.processes import die_with_parent
from dcp_conformance.harness.errors import UsageError

READY_LIMIT = 60.0
HOST = "127.0.0.1"


class ServerProcess:
    """A server program over a folder of its own; it dies with the process that started it, even by kill -9."""

    def __init__(self, command: Callable[[Path], Sequence[str]], ready: Callable[[], bool]) -> None:
        self._command, self._ready = command, ready
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again over the same folder. Raises UsageError where it does not come up."""
        self._end()  # one that does not answer may still hold the ports
        self._folder = self._folder or Path(tempfile.mkdtemp(prefix="dcp-store-"))
        words = list(self._command(self._folder))
        words[0] = _program(words[0])
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._folder,
                preexec_fn=functools.partial(die_with_parent, signal.SIGKILL),
            )  # fmt: skip
        self._wait()

    def stop(self) -> None:
        """End it and remove its folder; may be called twice."""
        self._end()  # its data goes with it, so there is nothing to finish in good order
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait(self) -> None:
        assert self._process is not None and self._folder is not None
        deadline = time.monotonic() + READY_LIMIT
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                last = (self._folder / "log").read_text(errors="replace")[-2000:]
                raise UsageError(f"the store did not come up within {READY_LIMIT:.0f} s. Its last words:\n{last}")
            time.sleep(0.1)


def _program(name: str) -> str:
    """Return the path of a program that pip or npm put into this environment, or that is on the PATH."""
    places = [str(Path(sys.executable).parent), str(Path(sys.prefix, "node_modules", ".bin")), os.environ["PATH"]]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise UsageError(f"{name} is not installed, or not on the PATH; backends/README.md says what it comes with.")
    return found


def free_ports(count: int, *, below: int = 65_536, also: int = 0) -> tuple[int, ...]:
    """Ports that nobody listens at now, below a number; with `also`, the port so much higher is free too."""
    found: list[int] = []
    while len(found) < count:
        port = _free_port(0)
        if port >= below and also:
            port = below - 1 - port % 20_000
        if port not in found and (not also or (_is_free(port) and _is_free(port + also))):
            found.append(port)
    return tuple(found)


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.bind((HOST, port))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    try:
        return bool(_free_port(port))
    except OSError:
        return False


def answers(url: str) -> bool:
    """Tell whether a server gives any answer at an address that is no error of its own."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
