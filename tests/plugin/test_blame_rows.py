"""Each row of the blame table, on real engines: the backend, the control pair, the second engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.command import ROOT, certify

BACKENDS = ROOT / "tests" / "plugin" / "backends.py"


@pytest.mark.parametrize(
    ("pair", "clause", "standing"),
    (
        # control passes, second engine fails: the backend.
        ("Lossy,Reader", "TYPE-02", "fail"),
        # control passes, second engine passes: torch's engine, provoked by a writer that is empty but not absent.
        ("Falsy,Reader", "TYPE-02", "engine"),
        # control fails, second engine passes: torch's engine casts and loses silently.
        ("Sound,Reader", "TYPE-05", "engine"),
        # control fails, second engine fails: the backend, whose own defect torch's masks. (A SHOULD: advice.)
        ("Sound,Hiding", "TYPE-05", "fail"),
    ),
    ids=("backend", "engine, provoked", "engine", "backend, masked"),
)
def test_blame_row_on_real_engines(tmp_path: Path, pair: str, clause: str, standing: str) -> None:
    ended = certify(tmp_path, f"{BACKENDS}:{pair}", "--clause", clause)
    entry = ended.clause(clause)
    assert entry["standing"] == standing, ended.text
    assert ended.code == (1 if standing == "fail" and entry["strength"] == "MUST" else 0)
