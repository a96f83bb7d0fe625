"""What the weekly run opens an issue about: a level that was lost or won since it was published, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dcp_conformance.harness.certificate import files
from dcp_conformance.harness.certificate.seal import seal_problems
from reports import changes, publish
from reports.public import PRIVATE, public
from reports.published import Published, published
from tests.certificate.samples import eventful


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which one certificate is published."""
    home = tmp_path / "reports"
    files.write(eventful(), home / "mypkg-1.2" / "certificate.json")
    monkeypatch.setattr(changes, "HOME", home)
    return home


def asked(folder: Path, certificate: dict[str, Any]) -> int:
    """What the command exits with for this certificate."""
    files.write(certificate, folder / "certificate.json")
    return changes.main([str(folder)])


def test_the_same_levels_are_no_news(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(tmp_path, eventful()) == 0
    assert "no level was lost or won" in capsys.readouterr().out


def test_a_level_that_changed_is_named_with_both_states(home: Path) -> None:
    new = eventful()
    level = new["levels"][0]
    before, level["state"] = level["state"], "not run"
    [earlier] = published(home)
    [line] = changes.changes(new, earlier)
    assert f"{level['level']} is not run" in line and f"was {before}" in line


def test_a_backend_that_was_never_published_opens_no_issue(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = eventful()
    new["backend"]["name"] = "never seen"
    assert changes.latest("never seen", published(home)) is None
    assert asked(tmp_path, new) == 0 and "nothing is published" in capsys.readouterr().out


def test_what_leaves_the_machine_is_sealed_and_names_none_of_its_folders() -> None:
    certificate = eventful()
    certificate["backend"]["location"] = "/root/x/lib/python3.11/site-packages/mypkg/storage.py"
    shown = public(certificate)
    assert shown["backend"]["location"] == "mypkg/storage.py"
    assert seal_problems(shown) == [] and PRIVATE.search(files.text(shown)) is None


def test_one_page_shows_the_levels_of_what_is_published(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "HOME", home)
    [each] = published(home)
    assert isinstance(each, Published)
    pages = publish.made([each])
    assert set(pages) == {home / name for name in ("README.md", "index.html", "releases.md", "mypkg-1.2/README.md")}
    assert all(level["state"] in pages[home / "README.md"] for level in each.certificate["levels"])
