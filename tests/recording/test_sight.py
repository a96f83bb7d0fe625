"""What the recorder sees: every way to write files is seen to the last byte, or declared blind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcp_conformance.harness.recording.operations import Recording, load
from dcp_conformance.harness.replay import probe
from dcp_conformance.harness.replay.disk import everything
from tests.recording.writers import DECLARED, SEEN

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(bool(probe.why_not_notified()), reason=probe.why_not_notified() or "-")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("writers")
    words = [sys.executable, "-m", "tests.recording.writers", str(folder)]
    subprocess.run(words, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
    return folder


def recording_of(recordings: Path, name: str) -> Recording:
    if (recordings / f"{name}.missing").exists():
        pytest.skip((recordings / f"{name}.missing").read_text())
    return load(recordings / f"{name}.recording")


@pytest.mark.parametrize("name", [writer.__name__ for writer in SEEN])
def test_every_byte_is_seen(recordings: Path, name: str) -> None:
    found = recording_of(recordings, name)
    assert found.blind == ""
    assert not [item for item in found.operations if item.call == "opaque" and not item.failed]
    assert everything(found) == ""
    assert any(found.after.values())


@pytest.mark.parametrize("name", [writer.__name__ for writer in DECLARED])
def test_what_cannot_be_replayed_is_declared(recordings: Path, name: str) -> None:
    assert [item.target for item in recording_of(recordings, name).operations if item.call == "opaque"]


def test_order_of_one_save_is_as_it_was(recordings: Path) -> None:
    calls = [item.call for item in recording_of(recordings, "python_file").operations]
    assert calls == ["open", "write", "fsync", "write", "close", "open", "write", "close"]


def test_threads_and_children_have_numbers_of_their_own(recordings: Path) -> None:
    assert {item.thread for item in recording_of(recordings, "python_file").operations} == {0}
    assert len({item.thread for item in recording_of(recordings, "threads").operations} - {0}) == 3
    assert 0 not in {item.thread for item in recording_of(recordings, "forked_child").operations}


def test_inode_that_is_used_again_is_another_file(recordings: Path) -> None:
    opened = [item.file for item in recording_of(recordings, "removed_while_open").operations if item.call == "open"]
    assert len(set(opened)) == 2


def test_synchronous_writes_are_told(recordings: Path) -> None:
    operations = recording_of(recordings, "synchronous_writes").operations
    assert [item.synchronous for item in operations if item.call == "open"] == [True, False]
    assert [item.path for item in operations if item.call == "fsync"] == ["b"]
