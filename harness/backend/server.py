"""A backend's own server, for the time of a run: started in a program of its own, stopped with it, also after Ctrl-C.

The program resolves the backend, calls `start()`, reports the environment by which ranks find the server, and calls
`stop()` when its control pipe closes, which the death of the pytest process brings about too.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from dcp_conformance import IMPORT_ROOT
from dcp_conformance.harness.errors import UsageError

START_LIMIT = 120.0
STOP_LIMIT = 20.0
_LINES = 6
_PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
from dcp_conformance.harness.backend.server import main
main(sys.argv[2])
"""


class Server:
    """What `Backend.start` started."""

    def __init__(self, reference: str, options: tuple[tuple[str, str], ...], cwd: str) -> None:
        self._request = json.dumps({"reference": reference, "options": dict(options), "cwd": cwd})
        self._reference = reference
        self._process: subprocess.Popen[bytes] | None = None
        self._control = -1

    def start(self) -> dict[str, str]:
        """Start it and return the environment for ranks. Raises UsageError when it does not come up."""
        answer, theirs = os.pipe()
        control, self._control = os.pipe()
        request = json.dumps({**json.loads(self._request), "answer": theirs, "control": control})
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(IMPORT_ROOT), request],
            pass_fds=(theirs, control), start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        os.close(control)
        try:
            text = _line(answer, START_LIMIT)
        except TimeoutError:
            self._kill()
            raise UsageError(
                f"--backend={self._reference}: its start() did not return in {START_LIMIT:g} s and was ended."
            ) from None
        finally:
            os.close(answer)
        if not text.endswith(b"\n"):
            raise UsageError(
                f"--backend={self._reference}: the process of its start() ended without an answer; its output is above."
            )
        answer_given: dict[str, Any] = json.loads(text)
        if "failed" in answer_given:
            raise UsageError(f"--backend={self._reference}: its {answer_given['failed']}")
        return {str(name): str(value) for name, value in answer_given["environment"].items()}

    def stop(self) -> None:
        """Close its control pipe and wait for it to end; a program that does not is killed with its children."""
        if self._process is None:
            return
        os.close(self._control)
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            sys.stderr.write(
                f"--backend={self._reference}: its stop() took more than {STOP_LIMIT:g} s and was ended.\n"
            )
            self._kill()
        self._process = None

    def _kill(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _line(descriptor: int, limit: float) -> bytes:
    """Return what comes up to the first line break, or to the end. Raises TimeoutError after `limit` seconds.

    Not up to the end alone: a helper that start() forked keeps the pipe open for as long as it lives.
    """
    text, deadline = b"", time.monotonic() + limit
    while not text.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            break
        text += piece
    return text


def main(text: str) -> None:
    """Run the program: start, report, wait for the control pipe to close, stop."""
    from dcp_conformance.harness.backend.resolve import resolve

    request: Mapping[str, Any] = json.loads(text)
    # Ctrl-C reaches pytest, which closes the pipe; this program must live long enough to stop the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("answer", "control"):
        os.set_inheritable(request[name], False)  # a program that start() runs has no use for them
    backend = resolve(request["reference"], request["options"], request["cwd"])
    answer = _started(backend.start)
    with os.fdopen(request["answer"], "w") as pipe:
        pipe.write(json.dumps(answer) + "\n")
    if "failed" in answer:
        return
    with os.fdopen(request["control"], "rb") as pipe:
        pipe.read()
    if backend.stop is not None:
        backend.stop()


def _started(start: Callable[[], Mapping[str, str] | None] | None) -> dict[str, Any]:
    """Return the environment that start() gave, or why there is none."""
    try:
        given = start() if start is not None else {}
    except BaseException as error:
        # Whatever it raises, sys.exit too: the person who waits for the run is told.
        last = "".join(traceback.format_exception(type(error), error, error.__traceback__)).splitlines()[-_LINES:]
        return {"failed": "\n".join([f"start() failed: {type(error).__name__}: {error}", *last])}
    if given is not None and not isinstance(given, Mapping):
        return {
            "failed": f"start() returned a {type(given).__name__}; it returns a dict of environment variables, or None."
        }
    return {"environment": {str(name): str(value) for name, value in (given or {}).items()}}
