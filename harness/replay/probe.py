"""Which means of recording this machine allows: tried in a process that is thrown away."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from dcp_conformance import IMPORT_ROOT
from dcp_conformance.harness.recording import syscalls

_LIMIT = 30.0
_TRIAL = """
import sys; sys.path.insert(0, sys.argv[2])
from dcp_conformance.harness.replay.probe import trial
trial(sys.argv[1])
"""


@functools.lru_cache(maxsize=1)
def why_not_notified() -> str:
    """Say why calls cannot be seen by seccomp user notification here; "" where they can. Costs a process, once."""
    if platform.system() != "Linux" or not syscalls.numbers():
        return f"system calls are not known for {platform.system()} on {platform.machine()}"
    with tempfile.TemporaryDirectory() as folder:
        # Isolated: the author's PYTHON variables and current folder have no say in what this machine can do.
        words = [sys.executable, "-I", "-c", _TRIAL, folder, str(IMPORT_ROOT)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return f"a trial did not end within {_LIMIT:.0f} s"
    lines = done.stderr.strip().splitlines()
    if done.returncode == 0:
        return ""
    return lines[-1] if lines else f"a trial ended with {done.returncode}"


def trial(folder: str) -> None:
    """Record one small file, and let one write fail; any error says why it cannot be done. Stays under the filter."""
    from dcp_conformance.harness.recording.client import link
    from dcp_conformance.harness.recording.operations import load
    from dcp_conformance.harness.recording.policy import Rule
    from dcp_conformance.harness.replay.disk import everything

    base = Path(folder)
    watched = base / "watched"
    watched.mkdir()
    with link(str(base / "socket"), 0, start=True).watch(str(watched), world=1, path=str(base / "r")) as watching:
        (watched / "file").write_bytes(b"seen")
        watching.faults(Rule(calls=("mkdir",), errno=28))
        try:
            os.mkdir(watched / "folder")
        except OSError as error:
            assert error.errno == 28, f"another error than the one that was asked for: {error}"
    recording = load(base / "r")
    # A filter that installs and shows nothing (a sandbox that answers for the kernel) is worse than none: only a true
    # recording counts.
    wrong = recording.blind or everything(recording)
    assert not wrong and [item.call for item in recording.operations] == ["open", "write", "close", "mkdir"], wrong
