"""`--explain CLAUSE-ID`: the clause, its tests, its mutants and its last verdict, from data and static reading only."""

from __future__ import annotations

import ast
from pathlib import Path

from dcp_conformance import HOME
from dcp_conformance.harness.certificate import explained
from dcp_conformance.harness.contract import Clause
from dcp_conformance.harness.run.closing import last_certificate

# Present in a clone only: mutants belong to the project's own tests and are not installed.
MUTANTS = (HOME / "suites").resolve().parent / "tests" / "mutants"


def explanation(clause: Clause, tests: list[str], report_dir: Path) -> list[str]:
    """The lines to print. tests: names of the cases that check it; report_dir: where the last certificate lies."""
    return explained.explain_lines(clause, tests, mutants_of(clause.id), last_certificate(report_dir))


def mutants_of(clause_id: str, folder: Path = MUTANTS) -> list[str]:
    """Names of the mutants that the clause must catch, read from each module's BREAKS without importing it."""
    found = [breaks(path) for path in sorted(folder.glob("*.py"))]
    return [name for broken in found for name, clauses in broken.items() if clause_id in clauses]


def breaks(path: Path) -> dict[str, tuple[str, ...]]:
    """The module-level dict BREAKS of a file (mutant -> clauses that must catch it); {} where there is none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "BREAKS" for t in node.targets):
            return dict(ast.literal_eval(node.value))
    return {}
