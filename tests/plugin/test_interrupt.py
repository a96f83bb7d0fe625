"""A run that is stopped leaves no process, and a certificate that says partial where it could still be written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugin.command import ROOT, environment

HANGING = f"{ROOT / 'tests' / 'plugin' / 'backends.py'}:Hanging,Reader"
LIMIT = 60.0


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture(params=((), ("-n", "2")), ids=("one process", "xdist"))
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that hangs in its first case."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "dcp_conformance",
            HANGING,
            "--clause",
            "FIN-12,TYPE-02",
            f"--scratch={tmp_path / 'scratch'}",
            *request.param,
        ],
        cwd=tmp_path,
        # What the judge writes down lies in the temporary folder, apart from the scratch folder.
        env={**environment(), "DCP_TEST_MARK": str(tmp_path), "TMPDIR": str(_made(tmp_path / "records"))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until(lambda: any('"started"' in path.read_text() for path in tmp_path.glob("records/*/events/*.jsonl")))
    yield process
    for pid in marked(tmp_path):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def test_ctrl_c_leaves_no_process_and_a_partial_certificate(running: subprocess.Popen[bytes], tmp_path: Path) -> None:
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(LIMIT) == 2
    wait_until(lambda: not marked(tmp_path))
    certificate = json.loads((tmp_path / "dcp-report" / "certificate.json").read_text())
    assert certificate["run"]["partial"] and certificate["run"]["exit_status"] == 2
    assert all(level["state"] != "held" for level in certificate["levels"])
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_signal_is_ctrl_c(running: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals) -> None:
    running.send_signal(number)  # to the one process, as a CI job does
    assert running.wait(LIMIT) == 2
    wait_until(lambda: not marked(tmp_path))
    certificate = json.loads((tmp_path / "dcp-report" / "certificate.json").read_text())
    assert certificate["run"]["partial"] and certificate["run"]["exit_status"] == 2
    assert list((tmp_path / "scratch").iterdir()) == []


def test_kill_9_leaves_no_process(running: subprocess.Popen[bytes], tmp_path: Path) -> None:
    running.kill()
    running.wait(LIMIT)
    wait_until(lambda: not marked(tmp_path))


def marked(folder: Path) -> list[int]:
    """Processes that have the mark of this test in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"DCP_TEST_MARK={folder}\0".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended between the listing and the look
    return found


def wait_until(condition: object) -> None:
    """Wait until the condition holds; an assertion says that it never did."""
    deadline = time.monotonic() + LIMIT
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.1)
