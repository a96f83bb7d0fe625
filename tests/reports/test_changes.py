"""What the weekly run opens an issue about: a level that was lost or won since it was published, and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from dcp_conformance.harness.certificate import files
from reports import changes, publish
from reports.published import published

EVERYTHING = published(publish.HOME)


@pytest.fixture
def new() -> dict[str, Any]:
    """A certificate like one that is published, to be changed."""
    return copy.deepcopy(dict(EVERYTHING[0].certificate))


def asked(folder: Path, certificate: dict[str, Any]) -> int:
    """What the command exits with for this certificate."""
    files.write(certificate, folder / "certificate.json")
    return changes.main([str(folder)])


def test_the_same_levels_are_no_news(tmp_path: Path, new: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(tmp_path, new) == 0
    assert "no level was lost or won" in capsys.readouterr().out


def test_a_level_that_changed_is_named_with_both_states(new: dict[str, Any]) -> None:
    level = next(level for level in new["levels"] if level["level"] == "scale")
    before, level["state"] = level["state"], "not decided"
    [line] = changes.changes(new, EVERYTHING[0])
    assert "scale is not decided" in line and f"was {before}" in line


def test_a_backend_that_was_never_published_opens_no_issue(
    tmp_path: Path, new: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    new["backend"]["name"] = "never seen"
    assert changes.latest("never seen", EVERYTHING) is None
    assert asked(tmp_path, new) == 0 and "nothing is published" in capsys.readouterr().out
