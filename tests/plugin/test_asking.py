"""What is asked of the command without a run: its version, a clause; and output that nobody reads to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from tests.plugin.command import environment

COMMAND = f"{sys.executable} -m dcp_conformance"


def shell(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line as bash does in a job of continuous integration: a pipe fails with its first program."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("words", ("--version", "-V", "reference_impl --version"))
def test_the_version_is_ours_with_what_lies_beside_it(tmp_path: Path, words: str) -> None:
    ended = shell(f"{COMMAND} {words}", tmp_path)
    assert ended.returncode == 0 and ended.stderr == ""
    ours, torch = metadata.version("dcp-conformance"), metadata.version("torch")
    assert ended.stdout.startswith(f"dcp-conformance {ours} (torch {torch}, numpy ")


@pytest.mark.parametrize("words", ("--explain TYPE-02", "explain TYPE-02", "--help"))
def test_output_that_nobody_reads_to_its_end_is_no_traceback(tmp_path: Path, words: str) -> None:
    # A reader that has gone before the first line comes.
    ended = shell(f"{{ sleep 0.3; {COMMAND} {words}; }} | true", tmp_path)
    assert ended.returncode == 141 and ended.stderr == ""


def test_a_clause_is_explained_in_time_and_as_wide_as_the_terminal(tmp_path: Path) -> None:
    shell(f"{COMMAND} --explain FIN-05", tmp_path)  # the first run writes the byte code
    began = time.monotonic()
    narrow = shell(f"{COMMAND} --explain FIN-05", tmp_path, COLUMNS="60")
    seconds = time.monotonic() - began
    assert narrow.returncode == 0 and seconds < 1.5
    long = [line for line in narrow.stdout.splitlines() if len(line) > 60]
    # A single word, a test's place for one, stays whole.
    assert [line for line in long if len(line.split()) > 1] == []


def test_a_run_whose_reader_goes_ends_and_leaves_no_process(tmp_path: Path) -> None:
    words = f"{COMMAND} reference_impl --clause TYPE-02 --scratch={tmp_path / 'scratch'}"
    ended = shell(f"{words} | head -n 2", tmp_path)
    assert "Traceback" not in ended.stderr and ended.returncode != 0
    assert os.listdir(tmp_path / "scratch") == []


@pytest.mark.parametrize("system", ("darwin", "win32"))
def test_a_run_on_another_system_is_refused_by_a_sentence(tmp_path: Path, system: str) -> None:
    program = f"import sys; sys.platform = {system!r}; import dcp_conformance.command as c; sys.exit(c.main(['mypkg']))"
    ended = shell(f'{sys.executable} -c "{program}"', tmp_path)
    assert ended.returncode == 4 and len(ended.stderr.splitlines()) == 1
    assert "a run needs Linux" in ended.stderr and f"this is {system}. Run it in a Linux container" in ended.stderr
