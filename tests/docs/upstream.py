"""The page that says what PyTorch's own tests of DCP assert and where this suite checks it, made from data.

python -m tests.docs.upstream     write docs/upstream.md from suites/upstream.toml and the clauses
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dcp_conformance.harness.contract import Catalogue, load_catalogue

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
DATA, PAGE = ROOT / "suites" / "upstream.toml", ROOT / "docs" / "upstream.md"

_HEAD = """\
# What PyTorch's own tests assert, and where it is checked here

Made from `suites/upstream.toml` and the clauses by `python -m tests.docs.upstream`; a test says when it is out of date.
The tests are those of `test/distributed/checkpoint` in PyTorch, by the names that they have in 2.6 and later. *Outside*
is what this contract leaves free on purpose, *open* what it ought to promise and does not yet.
"""


@dataclass(frozen=True, kw_only=True)
class Asserted:
    """Tests of upstream's that assert one thing, and what this suite has for it."""

    file: str
    tests: tuple[str, ...]
    clauses: tuple[str, ...]
    #: What of it is deliberately not promised, and why; empty where nothing is left.
    outside: str = ""
    #: What of it ought to be promised and is not yet.
    open: str = ""


def asserted(path: Path = DATA) -> list[Asserted]:
    """Read the data."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))["asserted"]
    return [
        Asserted(**{**table, "tests": tuple(table["tests"]), "clauses": tuple(table["clauses"])}) for table in tables
    ]


def page(rows: list[Asserted], catalogue: Catalogue) -> str:
    """Return the page, a chapter for each of upstream's files."""
    lines = [_HEAD]
    for number, row in enumerate(rows):
        if number == 0 or rows[number - 1].file != row.file:
            lines += [f"## {row.file}", ""]
        lines += [*_entry(row, catalogue), ""]
    return "\n".join(lines).rstrip() + "\n"


def files_in_sources(catalogue: Catalogue) -> set[str]:
    """Return the names of upstream's test files that clauses give as their source."""
    return {name for clause in catalogue for name in re.findall(r"\b(test_\w+\.py)", clause.source)}


def _entry(row: Asserted, catalogue: Catalogue) -> Iterator[str]:
    yield f"**{', '.join(row.tests)}**"
    yield ""
    yield from (f"- `{clause}` {catalogue[clause].promise}" for clause in row.clauses)
    if row.outside:
        yield f"- outside: {row.outside}"
    if row.open:
        yield f"- open: {row.open}"


if __name__ == "__main__":
    sys.stdout.write(f"{PAGE.name}: {PAGE.write_text(page(asserted(), load_catalogue(ROOT / 'suites')))} characters\n")
