"""Every hostile backend: its run ends in time, with a certificate, and holds nothing that it did not keep.

`make test` runs some of them; `--all-hostile` runs all, as every night does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.registry import ENDINGS, HOSTILE, Hostile
from tests.hostile.warm import Row
from tests.plugin.command import ROOT, certify, environment

HERE = Path(__file__).parent
WARM = [hostile for hostile in HOSTILE if not hostile.whole_run]
WHOLE = [hostile for hostile in HOSTILE if hostile.whole_run]
LIMIT = 900.0
# Words that say that nothing was gained: the last are those of a clause that was not decided.
LOST = {"fail", "hang"}
UNDECIDED = {"untestable", "not-applicable"}


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[dict[str, Row]]:
    """What came of those that are judged one after the other."""
    names = [item.callspec.params["hostile"].module for item in request.session.items if "rows" in item.fixturenames]
    with tempfile.TemporaryDirectory() as folder:
        mark = f"dcp-hostile-{Path(folder).name}"
        command = [sys.executable, "-m", "tests.hostile.warm", f"{folder}/rows", *names]
        ended = subprocess.run(
            command, cwd=ROOT, env=environment() | {"DCP_HOSTILE": mark}, capture_output=True, text=True, timeout=LIMIT
        )
        for place in ("/dev/shm", tempfile.gettempdir()):
            shutil.rmtree(Path(place, mark), ignore_errors=True)
        assert ended.returncode == 0 and "INTERNALERROR" not in ended.stdout, ended.stdout + ended.stderr
        yield {row["module"]: Row(**row) for row in json.loads(Path(folder, "rows").read_text())}


@pytest.mark.parametrize("hostile", WARM, ids=[hostile.module for hostile in WARM])
def test_hostile_backend_gains_nothing(hostile: Hostile, rows: dict[str, Row]) -> None:
    row = rows[hostile.module]
    words = {clause: set(row.verdicts[clause]) for clause in hostile.clauses}
    found = set().union(*words.values())
    assert found and found <= LOST | UNDECIDED, (words, row.said)
    if hostile.ending == "lost":
        assert found & LOST, (words, row.said)
    assert hostile.says in row.said, row.said
    assert row.seconds < hostile.limit


@pytest.mark.parametrize("hostile", WHOLE, ids=[hostile.module for hostile in WHOLE])
def test_run_of_a_hostile_backend_ends_in_order(hostile: Hostile, tmp_path: Path) -> None:
    began = time.monotonic()
    chosen = [word for clause in hostile.clauses for word in ("--clause", clause)]
    chosen += ["--case", hostile.cases[0]] if hostile.cases else []
    ended = certify(tmp_path, str(HERE / f"{hostile.module}.py"), *chosen, *hostile.options)
    # What the import of a backend raised is shown with its traceback, as its author needs it.
    assert "INTERNALERROR" not in ended.text, ended.text
    assert hostile.ending == "refused" or "Traceback (most recent call last)" not in ended.text, ended.text
    assert "\x1b[2J" not in ended.text and "\u202e" not in ended.text, repr(ended.text)
    assert hostile.says in ended.text, ended.text
    # A run that is narrowed to clauses holds no level, so that undecided ones do not make it fail.
    assert ended.code == {"refused": 4, "lost": 1, "not held": 0}[hostile.ending], ended.text
    assert time.monotonic() - began < hostile.limit, ended.text


def test_registry_and_folder_agree() -> None:
    modules = {path.stem for path in HERE.glob("[a-z]*_*.py")} - {"test_hostile"}
    assert modules == {hostile.module for hostile in HOSTILE}
    assert {hostile.ending for hostile in HOSTILE} <= set(ENDINGS)


def test_no_daemon_is_left() -> None:
    """One of them leaves a process behind that sleeps for so many seconds, in a session of its own."""
    found = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _is_the_daemon(path)]
    assert not found


def _is_the_daemon(path: Path) -> bool:
    try:
        return path.read_bytes() == b"sleep\x0054321\0" and path.stat().st_uid == os.getuid()
    except OSError:
        return False
