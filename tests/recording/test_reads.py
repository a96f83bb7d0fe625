"""What a watch over reads tells of, and what it is silent about."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcp_conformance.harness.replay import probe

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(bool(probe.why_not_notified()), reason=probe.why_not_notified() or "-")


@pytest.fixture(scope="module")
def told_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Way to read -> what the watch told."""
    words = [sys.executable, "-m", "tests.recording.readers", str(tmp_path_factory.mktemp("readers"))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, check=True, cwd=ROOT, env=environment, timeout=60, capture_output=True, text=True)
    found: dict[str, list[str]] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("nothing", ""), ("library", ""), ("own", ""), ("empty", ""), ("log", ""), ("missing", ""), ("itself", ""),
        ("device", ""), ("young", "elsewhere/young"), ("linked", "elsewhere/young"), ("child", "elsewhere/young"),
        ("memory", "/dev/shm/"), ("abstract", "the abstract socket"), ("network", "a network connection"),
        ("parent", "what process "), ("shared", "shared memory"),
    ],
)  # fmt: skip
def test_what_a_load_may_not_read_is_named(told_of: dict[str, list[str]], how: str, told: str) -> None:
    found = told_of[how]
    assert len(found) == bool(told) and all(told in item for item in found), found
