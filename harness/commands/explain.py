"""`explain ID`: a clause, the tests and mutants that check it, with file and line, and its last verdict.

From data and static reading only: no test is collected, no backend imported.
"""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dcp_conformance import HOME
from dcp_conformance.harness.certificate import explained, files
from dcp_conformance.harness.certificate.terminal import WIDTH
from dcp_conformance.harness.commands.arguments import CERTIFICATE, DEFAULT, parser
from dcp_conformance.harness.contract import Clause, load_catalogue
from dcp_conformance.harness.errors import UsageError

SUITES = (HOME / "suites").resolve()
# Present in a clone only: mutants belong to the project's own tests and are not installed.
MUTANTS = SUITES.parent / "tests" / "mutants"


def main(arguments: Sequence[str]) -> int:
    """Print one clause, as wide as the terminal."""
    options = parser("explain", "Print a clause, who checks it and what the last run said.")
    options.add_argument("clause", metavar="ID", help="a clause, for example TYPE-02")
    options.add_argument("--report-dir", default=DEFAULT, metavar="DIR", help="where the last certificate lies")
    given = options.parse_args(arguments)
    clause = load_catalogue(SUITES)[given.clause]
    width = min(max(shutil.get_terminal_size((WIDTH, 24)).columns, 40), 120)
    print("\n".join(explanation(clause, Path(given.report_dir), width)))
    return 0


def explanation(clause: Clause, report_dir: Path, width: int = WIDTH) -> list[str]:
    """The lines to print. report_dir: where the last certificate lies, if there is one."""
    try:
        last = files.read(report_dir / CERTIFICATE)
    except UsageError:
        last = None
    return explained.explain_lines(clause, list(tests_of(clause.id)), mutants_of(clause.id), last, width)


def tests_of(clause_id: str, folder: Path = SUITES) -> Iterator[str]:
    """The tests that are marked with the clause, as `path:line name`."""
    for path in sorted(folder.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if f'"{clause_id}"' in text:
            shown = path.relative_to(folder.parent)
            yield from (f"{shown}:{line} {name.removeprefix('test_')}" for name, line in _marked(text, clause_id))


def _marked(text: str, clause_id: str) -> Iterator[tuple[str, int]]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            marks = [mark for mark in node.decorator_list if isinstance(mark, ast.Call)]
            named = [mark for mark in marks if isinstance(mark.func, ast.Attribute) and mark.func.attr == "clauses"]
            words = [word.value for mark in named for word in mark.args if isinstance(word, ast.Constant)]
            if clause_id in words:
                yield node.name, node.lineno


def mutants_of(clause_id: str, folder: Path = MUTANTS) -> list[str]:
    """Names of the mutants that the clause must catch, read from each module's BREAKS without importing it."""
    found = [breaks(path) for path in sorted(folder.glob("*.py"))]
    return [name for broken in found for name, clauses in broken.items() if clause_id in clauses]


def breaks(path: Path) -> dict[str, tuple[str, ...]]:
    """The module-level dict BREAKS of a file (mutant -> clauses that must catch it); {} where there is none."""
    text = path.read_text(encoding="utf-8")
    if "BREAKS" not in text:
        return {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "BREAKS" for t in node.targets):
            return dict(ast.literal_eval(node.value))
    return {}


if __name__ == "__main__":
    from dcp_conformance.harness.commands import main as run

    raise SystemExit(run("explain", sys.argv[1:]))
