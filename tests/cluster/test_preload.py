"""What the server imports, what it refuses, and that ranks import nothing of a usual job again."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcp_conformance.harness.cluster import Cluster, ClusterConfig, Raised, Returned
from dcp_conformance.harness.errors import UsageError
from tests.cluster import functions

STARTS_THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
MODULES = {
    "optional_fine": "VALUE = 1\n",
    "optional_thread": STARTS_THREAD,
    "optional_broken": "raise ValueError('broken module')\n",
    "optional_missing_part": "import surely_not_installed\n",
    "optional_exit": "raise SystemExit(5)\n",
    "optional_crash": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
    "optional_child": "import subprocess\nPROCESS = subprocess.Popen(['sleep', '1000'])\n",
    "trusted_thread": STARTS_THREAD,
    "json": "raise ValueError('hides the standard library')\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the end of sys.path."""
    folder = tmp_path_factory.mktemp("modules")
    for name, text in MODULES.items():
        folder.joinpath(f"{name}.py").write_text(text)
    return folder


def test_unfit_modules_are_refused_and_left_to_the_ranks(tmp_path: Path, folder: Path) -> None:
    optional = tuple(name for name in MODULES if name.startswith("optional"))
    config = ClusterConfig(
        folder=tmp_path,
        preload=("torch.distributed", "trusted_thread", "not_there"),
        optional_preload=optional,
        search_path=(str(folder),),
    )
    with Cluster(config) as cluster:
        assert cluster.preloaded() == ("torch.distributed", "optional_fine")
        refused = cluster.refused()
        for name, words in {
            "trusted_thread": "starts a thread",
            "not_there": "ModuleNotFoundError",
            "optional_thread": "starts a thread",
            "optional_broken": "ValueError: broken module",
            "optional_missing_part": "surely_not_installed",
            "optional_exit": "SystemExit",
            "optional_crash": "SIGSEGV",
            "optional_child": "starts a process",
        }.items():
            assert words in refused[name], refused
        first = cluster.run(2, functions.loaded, ["optional_fine", "optional_thread", "optional_broken", "json"])
        assert [outcome.value for outcome in first if isinstance(outcome, Returned)] == [
            ["optional_fine", "optional_thread", "json"]
        ] * 2
        assert not any(outcome.leftovers for outcome in first)  # its thread was there before the run
        assert isinstance(cluster.run(1, functions.load, "optional_broken")[0], Raised)


def test_torch_that_cannot_be_imported_is_an_error_of_use(tmp_path: Path) -> None:
    tmp_path.joinpath("torch.py").write_text("raise ImportError('no torch here')\n")
    config = ClusterConfig(folder=tmp_path, preload=("torch",), environment={"PYTHONPATH": str(tmp_path)})
    with pytest.raises(UsageError, match="no torch here"):
        Cluster(config).start()


def test_a_usual_job_imports_nothing_on_a_fresh_rank(cluster: Cluster, tmp_path: Path) -> None:
    outcomes = cluster.run(2, functions.modules_of_a_job, str(tmp_path), fresh=True)
    assert [outcome.value for outcome in outcomes if isinstance(outcome, Returned)] == [[], []], outcomes


def test_the_server_never_had_a_second_thread(cluster: Cluster) -> None:
    assert len(list(Path(f"/proc/{cluster.server_pid()}/task").iterdir())) == 1
