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
    """Return the lines to print. report_dir: where the last certificate lies, if there is one."""
    try:
        last = files.read(report_dir / CERTIFICATE)
    except UsageError:
        last = None
    return explained.explain_lines(clause, tests_of(clause.id), mutants_of(clause.id), last, width)


def tests_of(clause_id: str, folder: Path = SUITES) -> list[str]:
    """Return the tests that are marked with the clause, as `path:line name`."""
    return [place for clause, place in marked(folder, naming=f'"{clause_id}"') if clause == clause_id]


def marked(folder: Path = SUITES, *, naming: str = "") -> Iterator[tuple[str, str]]:
    """Each clause and each test marked with it, in the files that hold the text `naming`."""
    for path in sorted(folder.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        for clause, name, line in _marks(text) if naming in text else ():
            yield clause, f"{path.relative_to(folder.parent)}:{line} {name.removeprefix('test_')}"


def _marks(text: str) -> Iterator[tuple[str, str, int]]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            marks = [mark for mark in node.decorator_list if isinstance(mark, ast.Call)]
            named = [mark for mark in marks if isinstance(mark.func, ast.Attribute) and mark.func.attr == "clauses"]
            words = [word.value for mark in named for word in mark.args if isinstance(word, ast.Constant)]
            yield from ((str(word), node.name, node.lineno) for word in words)


def mutants_of(clause_id: str, folder: Path = MUTANTS) -> list[str]:
    """Return the names of the mutants that the clause must catch, read without importing them."""
    return [name for name, clauses in mutants(folder).items() if clause_id in clauses]


def mutants(folder: Path = MUTANTS) -> dict[str, tuple[str, ...]]:
    """Return every mutant with the clauses that must catch it."""
    return {name: clauses for path in sorted(folder.glob("*.py")) for name, clauses in breaks(path).items()}


def breaks(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the mutants of a file with the clauses that must catch them: `name = helper(..., breaks=[...])`."""
    text = path.read_text(encoding="utf-8")
    found: dict[str, tuple[str, ...]] = {}
    for node in ast.parse(text).body if "breaks=[" in text else ():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            for word in node.value.keywords:
                if word.arg == "breaks" and isinstance(word.value, ast.List):
                    found[node.targets[0].id] = tuple(ast.literal_eval(word.value))
    return found


if __name__ == "__main__":
    from dcp_conformance.harness.commands import main as run

    raise SystemExit(run("explain", sys.argv[1:]))
