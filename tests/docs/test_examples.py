"""What the documentation shows an author works: its examples are certified as an author would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.mark.parametrize("example", ["item_store", "durable_store"])
def test_example_is_certified(example: str, tmp_path: Path) -> None:
    words = [f"{example}.py", "--clause", "TYPE-02", "--clause", "FIN-01", "--report-dir", str(tmp_path), "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "dcp_conformance", *words], cwd=EXAMPLES, capture_output=True, text=True, timeout=240
    )

    assert done.returncode == 0, done.stdout + done.stderr
    certificate = json.loads((tmp_path / "certificate.json").read_text())
    assert {clause["id"] for clause in certificate["clauses"]} >= {"TYPE-02"}


def test_every_page_that_is_linked_is_there() -> None:
    root = EXAMPLES.parents[1]
    for page in (root / "CONTRIBUTING.md", *(root / "docs").glob("*.md")):
        for part in page.read_text(encoding="utf-8").split("](")[1:]:
            target = part.partition(")")[0]
            if "://" not in target and not target.startswith("#"):
                assert (page.parent / target.partition("#")[0]).exists(), f"{page.name} links to {target}"
