"""The page about upstream's tests says what the data and the clauses say."""

from __future__ import annotations

from pathlib import PurePosixPath

from dcp_conformance.harness.contract import load_catalogue
from tests.docs.upstream import PAGE, ROOT, asserted, files_in_sources, page

CATALOGUE = load_catalogue(ROOT / "suites")
ROWS = asserted()
# Files whose assertions stand in the data under the file which runs them.
ELSEWHERE = {"test_file_system_checkpoint_cpu.py"}


def test_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(ROWS, CATALOGUE), "run: python -m tests.docs.upstream"


def test_every_row_names_clauses_or_says_why_there_is_none() -> None:
    known = {clause.id for clause in CATALOGUE}
    for row in ROWS:
        assert row.clauses or row.outside or row.open, f"{row.file}: {row.tests} lead nowhere"
        assert set(row.clauses) <= known, f"{row.file}: {sorted(set(row.clauses) - known)} are no clauses"


def test_every_file_that_a_clause_comes_from_is_in_the_table() -> None:
    named = {PurePosixPath(row.file).name for row in ROWS}

    assert files_in_sources(CATALOGUE) - ELSEWHERE <= named
