"""Driving processes that share the imports of one server, and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dcp_conformance.harness.cluster import Cluster, ClusterConfig, Returned
from dcp_conformance.harness.cluster.errors import ServerLost
from tests.cluster import functions

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def trunk(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with a nursery."""
    with Cluster(
        ClusterConfig(folder=tmp_path / "trunk", preload=("torch.distributed",), nursery=_nursery(tmp_path))
    ) as cluster:
        yield cluster


def test_branch_has_the_modules_of_its_server_and_ranks_of_its_own(trunk: Cluster, tmp_path: Path) -> None:
    began = time.monotonic()
    with Cluster(_branch(tmp_path)) as branch:
        assert time.monotonic() - began < 1.0  # importing torch takes longer on any machine
        assert branch.preloaded() == trunk.preloaded()
        assert [outcome.value for outcome in branch.run(2, functions.all_reduced)] == [3, 3]
        assert branch.server_pid() != trunk.server_pid()


def test_two_branches_do_not_disturb_each_other(trunk: Cluster, tmp_path: Path) -> None:
    with Cluster(_branch(tmp_path, "one")) as one, Cluster(_branch(tmp_path, "other")) as other:
        other.run(2, functions.pid)
        pids = other.pids()
        one.run(2, functions.die_by_signal, 0, signal.SIGKILL)
        assert other.pids() == pids
        assert all(isinstance(outcome, Returned) for outcome in other.run(2, functions.all_reduced))


@pytest.mark.parametrize("whom", ("driver", "branch"))
def test_no_rank_stays_when_its_branch_or_its_driver_is_killed(trunk: Cluster, tmp_path: Path, whom: str) -> None:
    command = [sys.executable, "-m", "tests.cluster.drivers", "branch_and_wait", str(tmp_path), str(_nursery(tmp_path))]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert _wait(lambda: len(list(tmp_path.glob("world-*/left-*"))) == 2, 60)
    number = driver.pid if whom == "driver" else int((tmp_path / "branch").read_text())
    os.kill(number, signal.SIGKILL)
    driver.wait(60)
    server = trunk.server_pid()
    assert server is not None
    assert _wait(lambda: not _below(server), 5), _below(server)


def test_killed_server_is_replaced_by_one_of_the_branchs_own(trunk: Cluster, tmp_path: Path) -> None:
    with Cluster(_branch(tmp_path)) as branch:
        assert branch.run(1, functions.pid)
        server = trunk.server_pid()
        assert server is not None
        os.kill(server, signal.SIGKILL)
        with contextlib.suppress(ServerLost):  # the branch may have ended with it, in the middle of this run
            branch.run(1, functions.pid)
        assert [outcome.value for outcome in branch.run(2, functions.all_reduced)] == [3, 3]


def _branch(folder: Path, name: str = "branch") -> ClusterConfig:
    return ClusterConfig(folder=folder / name, preload=("torch.distributed",), branch_of=_nursery(folder))


def _nursery(folder: Path) -> Path:
    """A path that is too long for the address of a socket."""
    deep = folder / ("deep" * 20) / ("deeper" * 10)
    deep.mkdir(parents=True, exist_ok=True)
    return deep / "nursery"


def _below(pid: int) -> list[str]:
    from dcp_conformance.harness.cluster import processes

    return [processes.command(child) for child in processes.descendants(pid)]


def _wait(done: Callable[[], bool], limit: float) -> bool:
    deadline = time.monotonic() + limit
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
    return done()
