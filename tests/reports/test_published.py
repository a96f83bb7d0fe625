"""What is published is what certificates say: the pages in the tree are those that would be made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcp_conformance.harness.certificate.schema import validate
from reports import pages, publish
from reports.published import HARMS, Published, published

EVERYTHING = published(publish.HOME)


def test_pages_are_up_to_date() -> None:
    stale = [place for place, text in publish.made(EVERYTHING).items() if place.read_text(encoding="utf-8") != text]

    assert stale == [], "run python -m reports.publish"


@pytest.mark.parametrize("each", EVERYTHING, ids=lambda each: each.folder.name)
def test_certificate_is_whole(each: Published) -> None:
    assert validate(each.certificate) == []
    assert not each.certificate["run"]["partial"], "a narrowed run says nothing about levels"


@pytest.mark.parametrize("each", EVERYTHING, ids=lambda each: each.folder.name)
def test_finding_is_about_what_the_certificate_says_is_broken(each: Published) -> None:
    standing = {clause["id"]: clause["standing"] for clause in each.certificate["clauses"]}
    for finding in each.findings:
        assert finding.clauses
        assert {standing.get(clause, "") for clause in finding.clauses} & {"fail", "hang"}, finding.file
        assert finding.file.with_suffix(".py").exists(), "a finding comes with its reproduction"


def test_a_finding_without_a_harm_is_refused(tmp_path: Path) -> None:
    from reports.published import _finding

    (tmp_path / "x.md").write_text("# It fails\n\nClauses: DUR-04\nHarm: annoying\nStatus: new\n")
    with pytest.raises(ValueError, match="annoying"):
        _finding(tmp_path / "x.md")
    assert "wrong values" in HARMS


def test_overview_names_every_level_of_every_backend() -> None:
    text = pages.overview(EVERYTHING)

    for each in EVERYTHING:
        assert each.backend in text
        for level in each.certificate["levels"]:
            assert level["state"] in text
