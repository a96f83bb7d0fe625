"""The cluster beside pytest's own tools: xdist, pytest-timeout, coverage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
import pytest
from dcp_conformance.harness.cluster import Cluster, ClusterConfig

@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    config = ClusterConfig(folder=tmp_path_factory.mktemp("cluster"), preload=("torch.distributed",))
    with Cluster(config) as cluster:
        yield cluster
"""


def test_every_xdist_worker_has_a_server_of_its_own(tmp_path: Path) -> None:
    tests = """
import os, pathlib, pytest
from tests.cluster import functions

@pytest.mark.parametrize("number", range(4))
def test_sum(cluster, number):
    outcomes = cluster.run(2, functions.all_reduced)
    assert [outcome.value for outcome in outcomes] == [3, 3]
    pathlib.Path(os.environ["SERVERS"], str(cluster.server_pid())).touch()
"""
    servers = tmp_path / "servers"
    servers.mkdir()
    _pytest(tmp_path, tests, "-p", "xdist", "-n", "2", passed=4, SERVERS=str(servers))
    assert len(list(servers.iterdir())) == 2


def test_a_test_cut_off_by_pytest_timeout_does_not_harm_the_next(tmp_path: Path) -> None:
    tests = """
import pytest
from dcp_conformance.harness.cluster import Returned
from tests.cluster import functions

def test_hangs(cluster):
    cluster.start()
    with pytest.raises(BaseException, match="Timeout"):
        cluster.run(2, functions.nap, 100)

def test_next(cluster):
    assert all(isinstance(outcome, Returned) for outcome in cluster.run(2, functions.all_reduced))
"""
    _pytest(tmp_path, tests, "-p", "pytest_timeout", "--timeout=8", "--timeout-method=signal", passed=2)


def test_coverage_sees_what_runs_on_ranks(tmp_path: Path) -> None:
    pytest.importorskip("coverage")
    covered = tmp_path / "covered_module.py"
    covered.write_text("ONE = 1\n\n\ndef on_rank(number):\n    if number:\n        return 1\n    return 2\n")
    settings = tmp_path / "settings.ini"
    settings.write_text(f"[run]\ndata_file = {tmp_path}/data\nsource = {tmp_path}\n")
    program = (
        "from dcp_conformance.harness.cluster import *; from pathlib import Path\n"
        f"config = ClusterConfig(folder=Path({str(tmp_path)!r}), preload=('torch.distributed',), coverage=True,\n"
        f"    optional_preload=('covered_module',), search_path=({str(tmp_path)!r},))\n"
        "with Cluster(config) as cluster:\n"
        "    print(cluster.preloaded(), cluster.run(2, 'covered_module:on_rank', 0))\n"
    )
    environment = {**os.environ, "COVERAGE_RCFILE": str(settings)}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, timeout=120)
    assert len(list(tmp_path.glob("data.*"))) == 3  # the server and two ranks
    for command in (["combine"], ["report", "-m"]):
        report = subprocess.run(
            [sys.executable, "-m", "coverage", *command], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert report.returncode == 0, report
    line = next(line for line in report.stdout.splitlines() if "covered_module" in line)
    assert line.split()[1:] == ["5", "1", "80%", "6"]  # all but the branch that no rank took


def _pytest(folder: Path, tests: str, *options: str, passed: int, **environment: str) -> None:
    folder.joinpath("conftest.py").write_text(CONFTEST)
    folder.joinpath("test_it.py").write_text(tests)
    folder.joinpath("pytest.ini").write_text("[pytest]\n")
    settings = f"{folder}/pytest.ini"
    command = [sys.executable, "-m", "pytest", str(folder), "-q", "-p", "no:cacheprovider", "-c", settings]
    result = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        env={**os.environ, **environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert f"{passed} passed" in result.stdout, result.stdout + result.stderr
