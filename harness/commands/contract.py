"""`contract DIR`: the contract as a static site, a page for each clause, with search and the given reports."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dcp_conformance import HOME
from dcp_conformance.harness.certificate import files
from dcp_conformance.harness.certificate.contract_pages import Checked, contract_pages
from dcp_conformance.harness.certificate.prose import count
from dcp_conformance.harness.commands.arguments import parser, place_of
from dcp_conformance.harness.commands.explain import marked, mutants
from dcp_conformance.harness.contract import load_catalogue
from dcp_conformance.harness.errors import UsageError


def main(arguments: Sequence[str]) -> int:
    """Write the site."""
    options = parser("contract", "Write the pages of the contract as a static site.")
    options.add_argument("folder", metavar="DIR", help="a new or empty folder")
    options.add_argument("--report", action="append", default=[], metavar="FILE", help="a certificate to count in")
    given = options.parse_args(arguments)
    target = Path(given.folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not an empty folder, so no site is written there.")
    catalogue = load_catalogue((HOME / "suites").resolve())
    tests, broken = list(marked()), mutants()
    checked = {
        clause.id: Checked(
            tests=tuple(place for name, place in tests if name == clause.id),
            mutants=tuple(name for name, clauses in broken.items() if clause.id in clauses),
        )
        for clause in catalogue
    }
    certificates = [files.read(place_of(report)) for report in given.report]
    pages = contract_pages(catalogue, checked, certificates)
    target.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (target / name).write_text(text, encoding="utf-8")
    print(f"{target}: {count(len(pages), 'page')} of {count(len(catalogue), 'clause')}.")
    return 0


if __name__ == "__main__":
    from dcp_conformance.harness.commands import main as run

    raise SystemExit(run("contract", sys.argv[1:]))
