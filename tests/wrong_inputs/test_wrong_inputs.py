"""What a stranger types wrong is one sentence and exit code 4: no traceback, nothing green, nothing left behind."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import pytest

from tests.plugin.command import environment
from tests.wrong_inputs import backends, commands, options, places
from tests.wrong_inputs.wrong import Wrong

ROOT = Path(__file__).resolve().parents[2]
LISTS = {"options": options.ROWS, "places": places.ROWS, "backends": backends.ROWS, "commands": commands.ROWS}
ROWS = [pytest.param(row, id=f"{part}: {name}") for part, rows in LISTS.items() for name, row in rows.items()]
# One screen: what is longer nobody reads.
MOST_LINES, MOST_CHARACTERS = 24, 2400


class Process:
    """The process of process.py, started when it is first asked."""

    def __init__(self) -> None:
        program = [sys.executable, "-m", "tests.wrong_inputs.process"]
        self._process = subprocess.Popen(
            program, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "ready\n"

    def ask(self, row: Wrong, folder: Path, output: Path) -> Mapping[str, Any]:
        words = [word.replace("FOLDER", str(folder)) for word in row.words]
        wanted = {**asdict(row), "files": {}, "words": words, "folder": str(folder), "output": str(output)}
        pipe: IO[str] = self._process.stdin  # type: ignore[assignment]
        pipe.write(json.dumps(wanted) + "\n")
        pipe.flush()
        answer: Mapping[str, Any] = json.loads(self._line())
        return answer

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    started = Process()
    yield started
    started.close()


@functools.cache
def mounts() -> bool:
    script = "mount --make-rprivate / && mount -t tmpfs -o ro none /mnt"
    return subprocess.run(["unshare", "-m", "sh", "-ec", script], capture_output=True).returncode == 0


@pytest.mark.parametrize("row", ROWS)
def test_wrong_input_is_a_sentence(row: Wrong, process: Process, tmp_path: Path) -> None:
    if "mount" in row.before and not mounts():
        pytest.skip("this user may mount nothing")
    if any(f"none {place}" in row.before and place in ROOT.parents for place in map(Path, ("/tmp", "/var/tmp"))):
        pytest.skip("this clone lies in the folder that would be hidden")
    folder = tmp_path / "folder"
    there = _written(folder, row.files)
    ended = process.ask(row, folder, tmp_path / "output")

    text = str(ended["text"])
    assert ended["code"] == row.code, text
    said = " ".join(text.split())
    assert [words for words in row.says if " ".join(words.split()) not in said] == [], text
    assert "INTERNALERROR" not in text and not re.search(r"\d passed", text), text
    assert "harness/" not in _without_paths(text), text
    assert row.shows_code or "Traceback" not in text, text
    assert len(text.splitlines()) <= MOST_LINES and len(text) <= MOST_CHARACTERS, text
    if folder.exists():
        assert {path.name for path in folder.iterdir()} <= {*there, *row.leaves, "place", ".pytest_cache"}


def test_there_are_many() -> None:
    assert len(ROWS) >= 150


def _written(folder: Path, files: Mapping[str, str | bytes]) -> set[str]:
    folder.mkdir()
    for name, content in files.items():
        place = folder / name
        if name.endswith("/"):
            place.mkdir(parents=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return set(os.listdir(folder))


def _without_paths(text: str) -> str:
    """Without the lines in which pytest names our settings."""
    lines = [line for line in text.splitlines() if not line.strip().startswith(("configfile:", "inifile:"))]
    return "\n".join(lines)
