"""The installed wheel: the command from an empty folder, and an author's repository that it must not disturb."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from tests.packaging.environments import Environment

# One clause that torch keeps, at world size 1: enough to see that a run works.
ONE = ("--clause", "TYPE-02")
TORCH = "torch.distributed.checkpoint"


def certificate(folder: Path) -> str:
    return json.dumps(json.loads((folder / "dcp-report" / "certificate.json").read_text()))


@pytest.mark.parametrize("program", [["dcp-conformance"], ["python", "-m", "dcp_conformance"]])
def test_the_command_certifies_from_an_empty_folder(
    environment: Environment, tmp_path: Path, program: list[str]
) -> None:
    run = environment.run(tmp_path, *program, TORCH, *ONE)

    assert run.code == 0 and " passed" in run.text, run
    assert TORCH in certificate(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"dcp-report", ".pytest_cache"}


def test_the_command_runs_on_several_workers(environment: Environment, tmp_path: Path) -> None:
    run = environment.run(tmp_path, "dcp-conformance", TORCH, *ONE, "-n", "2")

    assert run.code == 0 and " passed" in run.text, run


def test_an_unknown_backend_ends_with_code_4_within_two_seconds(environment: Environment, tmp_path: Path) -> None:
    environment.run(tmp_path, "dcp-conformance", "warm_up")  # the first run writes the byte code
    began = time.monotonic()
    run = environment.run(tmp_path, "dcp-conformance", "no_such_backend")
    seconds = time.monotonic() - began

    assert run.code == 4, run
    assert "--backend=no_such_backend: there is no such backend." in run.text
    assert seconds < 2


def test_the_command_without_a_backend_says_how_to_use_it(environment: Environment, tmp_path: Path) -> None:
    run = environment.run(tmp_path, "dcp-conformance")

    assert run.code == 4
    assert run.text.startswith("usage: dcp-conformance BACKEND")


@pytest.mark.parametrize("program", [["pytest"], ["python", "-m", "pytest"]])
def test_an_authors_own_tests_run_unchanged(environment: Environment, repository: Path, program: list[str]) -> None:
    run = environment.run(repository, *program, "--backend", "sqlite", "--device=7")

    assert run.code == 0 and "4 passed" in run.text, run
    assert "dcp" not in run.text.replace(str(repository), "").replace("plugins: dcp-conformance-", "")


def test_an_authors_folder_called_suites_is_theirs(environment: Environment, repository: Path) -> None:
    run = environment.run(repository, "pytest", "suites", "--backend=memory")

    assert run.code == 0 and "1 passed" in run.text, run


def test_the_command_certifies_an_authors_backend_in_their_repository(
    environment: Environment, repository: Path
) -> None:
    run = environment.run(
        repository, "dcp-conformance", "their_store", *ONE, PYTEST_ADDOPTS="--device=7", PYTEST_PLUGINS="conftest"
    )

    assert run.code == 0 and " passed" in run.text, run
    assert "their_store" in certificate(repository)


def test_a_configuration_of_theirs_that_does_not_work_is_not_read(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "conftest.py").write_text("raise RuntimeError('their conftest.py was imported')\n")

    run = environment.run(tmp_path, "dcp-conformance", TORCH, *ONE)

    assert run.code == 0 and " passed" in run.text, run


@pytest.mark.parametrize("folders", [(), ("harness", "suites", "fixtures", "backends", "reports")])
def test_pyargs_finds_ours_whatever_folders_an_author_has(
    environment: Environment, tmp_path: Path, folders: tuple[str, ...]
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('their package was imported')")

    run = environment.run(
        tmp_path, "python", "-m", "pytest", "--pyargs", "dcp_conformance.suites", f"--backend={TORCH}", *ONE
    )

    assert run.code == 0 and " passed" in run.text, run


def test_an_author_gets_packages_of_theirs_in_ranks(environment: Environment, repository: Path) -> None:
    (repository / "owned_store.py").write_text(
        "import harness, fixtures, suites\n"
        "assert [module.OWNER for module in (harness, fixtures, suites)] == ['them'] * 3\n"
        "from their_store import TheirReader, TheirWriter\nDEFAULT_PAIR = ('TheirWriter', 'TheirReader')\n"
        "__all__ = ['TheirReader', 'TheirWriter']\n"
    )

    run = environment.run(repository, "dcp-conformance", "owned_store", *ONE)

    assert run.code == 0 and " passed" in run.text, run


def test_a_run_that_does_not_reach_our_suites_is_told_how_to(environment: Environment, tmp_path: Path) -> None:
    run = environment.run(tmp_path, "pytest", "suites", f"--backend={TORCH}")

    assert run.code == 4, run
    assert "'suites' is not there" in run.text and "dcp-conformance BACKEND" in run.text


def test_plugins_and_warnings_of_an_author_have_no_say(environment: Environment, repository: Path) -> None:
    site = next((environment.bin.parent / "lib").glob("python*/site-packages"))
    for name in ("reports", "backends"):
        (repository / name).mkdir()
        (repository / name / "__init__.py").write_text("raise RuntimeError('theirs was imported')\n")
    (site / "their_plugin.py").write_text("raise RuntimeError('their plugin was loaded')\n")
    info = site / "their_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pytest11]\ntheir_plugin = their_plugin\n")
    try:
        theirs = environment.run(repository, "pytest")
        ours = environment.run(
            repository, "dcp-conformance", "their_store", *ONE, PYTHONWARNINGS="error", PYTHONPATH="."
        )
    finally:
        (site / "their_plugin.py").unlink()
        shutil.rmtree(info)

    assert "their plugin was loaded" in theirs.text, "this test would show nothing"
    assert ours.code == 0 and " passed" in ours.text, ours
