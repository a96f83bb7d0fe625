"""A backend's own server: up before ranks, its environment known, down again in every case."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from dcp_conformance.harness.backend.server import Server
from dcp_conformance.harness.errors import UsageError

ADAPTER = """
import os, pathlib
from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend
HERE = pathlib.Path(__file__).parent
def start():
    print("chatter on standard output")
    (HERE / "pid").write_text(str(os.getpid()))
    {extra}
    return {{"STORE_URL": "http://localhost:1"}}
def stop():
    (HERE / "stopped").write_text("yes")
pair = dict(writer=control.Writer, reader=control.Reader, unsupported=control.UNSUPPORTED)
backend = Backend(name="served", start=start, stop=stop, **pair)
"""


def server(folder: Path, extra: str = "") -> Server:
    (folder / "served_adapter.py").write_text(ADAPTER.format(extra=extra))
    return Server(str(folder / "served_adapter.py"), (), str(folder))


def test_environment_comes_back_and_stop_is_called(tmp_path: Path) -> None:
    running = server(tmp_path)
    assert running.start() == {"STORE_URL": "http://localhost:1"}
    running.stop()
    assert (tmp_path / "stopped").exists()
    running.stop()


def test_a_server_that_does_not_come_up_is_a_usage_error(tmp_path: Path) -> None:
    running = server(tmp_path, "raise RuntimeError('port in use')")
    with pytest.raises(UsageError, match=r"start\(\) failed: RuntimeError: port in use"):
        running.start()
    running.stop()


HELPERS = {
    "runs a program": "import subprocess; child = subprocess.Popen(['sleep', '60'], close_fds=False).pid",
    "forks": "import time; child = os.fork(); child or (time.sleep(60), os._exit(0))",
}


@pytest.mark.parametrize("extra", HELPERS.values(), ids=HELPERS)
def test_a_helper_of_its_own_does_not_hold_up_the_run(tmp_path: Path, extra: str) -> None:
    running = server(tmp_path, f"{extra}; (HERE / 'child').write_text(str(child))")
    assert running.start() == {"STORE_URL": "http://localhost:1"}
    running.stop()
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    assert (tmp_path / "stopped").exists()


def test_a_start_that_never_returns_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcp_conformance.harness.backend.server.START_LIMIT", 8.0)
    running = server(tmp_path, "import time; time.sleep(600)")
    with pytest.raises(UsageError, match=r"its start\(\) did not return in 8 s and was ended"):
        running.start()
    running.stop()


def test_a_stop_that_never_returns_is_ended_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dcp_conformance.harness.backend.server.STOP_LIMIT", 0.5)
    running = server(tmp_path)
    (tmp_path / "served_adapter.py").write_text(
        ADAPTER.format(extra="pass").replace('(HERE / "stopped")', 'import time; time.sleep(600); (HERE / "stopped")')
    )
    running.start()
    running.stop()
    assert "its stop() took more than 0.5 s and was ended" in capsys.readouterr().err


def test_death_of_the_owner_stops_it(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        server(tmp_path).start()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    deadline = time.monotonic() + 10
    while not (tmp_path / "stopped").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "stopped").exists()
