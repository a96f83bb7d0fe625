"""What is published is what certificates say: the pages in the tree are those that would be made of them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from dcp_conformance.harness.certificate.reports import REPORTS
from dcp_conformance.harness.certificate.schema import validate
from dcp_conformance.harness.certificate.seal import seal_problems
from reports import pages, picture, publish
from reports.public import PRIVATE, shortened
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


@pytest.mark.parametrize("each", EVERYTHING, ids=lambda each: each.folder.name)
def test_certificate_is_sealed_and_its_page_and_junit_file_are_made_of_it(each: Published) -> None:
    assert seal_problems(each.certificate) == []
    for name in publish.BESIDE:
        assert (each.folder / name).read_text(encoding="utf-8") == REPORTS[name](each.certificate)


@pytest.mark.parametrize("path", sorted(publish.HOME.glob("*/*.*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_nothing_that_is_published_names_a_folder_of_the_machine(path: Path) -> None:
    found = PRIVATE.search(path.read_text(encoding="utf-8"))
    assert found is None, found


@pytest.mark.parametrize(
    ("text", "then"),
    (
        (
            'File "/root/.pyenv/versions/3.11.7/lib/python3.11/threading.py", line 3',
            'File "python3.11/threading.py", line 3',
        ),
        ("/home/me/.venv/lib/python3.11/site-packages/torch/x.py:7", "torch/x.py:7"),
        ("/a/b/src/dcp_conformance/harness/cluster/worker.py", "dcp_conformance/harness/cluster/worker.py"),
        ("[Errno 2] no such file: '/tmp/dcp-conformance-abc_1/data/x'", "[Errno 2] no such file: 'SCRATCH/data/x'"),
        ("from http://127.0.0.1:80/tmp/x and s3://dcp/tmp/y", "from http://127.0.0.1:80/tmp/x and s3://dcp/tmp/y"),
        ("see /var/lib/thing/file", "see ..."),
    ),
)
def test_paths_are_shortened_to_what_a_reader_needs(text: str, then: str) -> None:
    assert shortened(text) == then


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


def test_picture_of_the_readme_is_small_and_well_formed() -> None:
    text = (publish.HOME / picture.NAME).read_text(encoding="utf-8")
    drawn = ElementTree.fromstring(text)

    assert len(text.encode()) <= 40 << 10
    assert len(drawn.findall("{http://www.w3.org/2000/svg}text")) > 10
    assert "prefers-color-scheme:dark" in text
