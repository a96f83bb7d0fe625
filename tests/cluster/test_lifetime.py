"""However the driving process ends, no process of the cluster stays; and a lost server is replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from dcp_conformance.harness.cluster import Cluster, ClusterConfig, ClusterError, Returned
from tests.cluster import functions, poisons
from tests.cluster.drivers import MARK

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_no_process_stays_when_the_driver_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    driver, mark = _start("leave_and_wait", tmp_path)
    assert _wait(lambda: len(list(tmp_path.glob("world-*/left-*"))) == 2, 60)
    assert len(_marked(mark)) >= 2 + 1 + 2 * 6  # the driver, its server, two ranks with six processes each
    driver.send_signal(number)
    driver.wait(30)
    assert _wait(lambda: not _marked(mark), 5), _tell(mark)


def test_no_process_stays_when_the_cluster_is_closed(tmp_path: Path) -> None:
    driver, mark = _start("leave_and_return", tmp_path)
    assert driver.wait(60) == 0
    assert not _marked(mark), _tell(mark)


def test_no_process_stays_when_the_driver_ends_while_the_server_imports(tmp_path: Path) -> None:
    driver, mark = _start("die_while_preloading", tmp_path)
    driver.wait(60)
    assert _wait(lambda: not _marked(mark), 5), _tell(mark)


def test_the_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    driver, _mark = _start("start_in_a_thread_that_ends", tmp_path)
    assert driver.wait(60) == 0
    assert tmp_path.joinpath("out").read_text() == "2\n"


def test_a_lost_server_is_an_error_of_the_cluster_and_replaced(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    config = ClusterConfig(folder=tmp_path, preload=("torch.distributed",), environment={MARK: mark})
    with Cluster(config) as cluster:
        cluster.run(2, functions.pid)
        first = cluster.server_pid()
        assert first is not None
        with pytest.raises(ClusterError, match="SIGKILL"):
            cluster.run(1, poisons.leave_processes_and_kill, first)
        assert _wait(lambda: not _marked(mark), 5), _tell(mark)
        assert all(isinstance(outcome, Returned) for outcome in cluster.run(2, functions.all_reduced))
        assert cluster.server_pid() != first


def test_a_cluster_can_be_closed_twice_and_started_again(tmp_path: Path) -> None:
    cluster = Cluster(ClusterConfig(folder=tmp_path, preload=()))
    cluster.close()
    cluster.start()
    cluster.start()
    cluster.close()
    cluster.close()
    assert cluster.server_pid() is None


def test_an_exception_in_the_driver_throws_the_world_away(cluster: Cluster) -> None:
    before = cluster.run(2, functions.pid)
    previous = signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            cluster.run(2, functions.nap, 100)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    after = cluster.run(2, functions.pid)
    assert not {outcome.value for outcome in before} & {outcome.value for outcome in after}  # type: ignore[attr-defined]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _start(name: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "tests.cluster.drivers", name, str(folder)]
    environment = {**os.environ, MARK: mark}
    with open(folder / "out", "w") as out:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out), mark


def _marked(mark: str) -> list[int]:
    """Processes with the mark in their environment; zombies have none."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environment = folder.joinpath("environ").read_bytes()
            except OSError:
                continue  # ended meanwhile
            if mark.encode() in environment:
                found.append(int(folder.name))
    return found


def _tell(mark: str) -> list[bytes]:
    return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in _marked(mark)]


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
