"""A power cut of a real file system: what was synced is there afterwards, and nothing stays mounted or attached."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcp_conformance.harness.faults import corruption

ROOT = Path(__file__).resolve().parents[2]
# In a program of its own: it changes what this process would see mounted. It ends without tidying up, as a kill would.
PROGRAM = """
import os, sys
from dcp_conformance.harness.faults.power import Disk, Unavailable, own_mounts
try:
    own_mounts()
    disk = Disk(sys.argv[1], "disk")
except Unavailable as reason:
    print("unavailable:", reason)
    os._exit(0)
(disk.place / "old").write_bytes(b"old" * 1000)
disk.settle()
(disk.place / "new").write_bytes(b"new" * 1000)
(disk.place / "link").symlink_to("old")
if sys.argv[2] == "cut":
    disk.cut()
    disk.restart()
os._exit(0)
"""


def run(folder: Path, what: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), what],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    if done.stdout.startswith("unavailable"):
        pytest.skip(done.stdout.strip())
    return done.stdout


def attached(folder: Path) -> list[str]:
    """Images in a folder that are attached to a loop device; the kernel detaches them a moment after a death."""
    files = [path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return [file for file in files if file.startswith(str(folder))]


def test_only_what_was_synced_outlives_the_cut(tmp_path: Path) -> None:
    run(tmp_path, "cut")
    assert (tmp_path / "disk" / "old").read_bytes() == b"old" * 1000
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["old"]


@pytest.mark.parametrize("what", ("cut", "die with it mounted"))
def test_nothing_stays_mounted_or_attached(tmp_path: Path, what: str) -> None:
    run(tmp_path, what)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    deadline = time.monotonic() + 10
    while attached(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert attached(tmp_path) == []


def test_places_of_a_data_object_are_told_apart() -> None:
    known = {"a": b"AAAAAAAA", "b": b"BBBBBBBB"}
    data = b"hh" + known["a"] + b"ii" + known["b"] + b"tt"
    parts = [corruption.part_of(data, known, at) for at in (0, 2, 9, 10, 12, 20)]
    assert parts == ["header", "payload", "payload", "index", "payload", "tail"]
    assert corruption.part_of(b"compressed", known, 3) == "object"


def test_giant_numbers_leave_the_values_alone() -> None:
    known = {"a": b"A" * 64}
    data = b"h" * 40 + known["a"] + b"t" * 20
    damages = corruption.planned(["length"], {"x": data}, known)
    assert damages
    for damage in damages:
        changed = corruption.changes(damage, {"x": data})["x"]
        assert changed is not None and len(changed) == len(data) and known["a"] in changed
