"""Hostile backends judged one after the other in one process, over one fork server, as the kill matrix judges mutants.

    python -m tests.hostile.warm ROWS MODULE MODULE     writes what came of each to the file ROWS, as JSON

What they do to ranks, to the server and to the judge they do to those of all: the next one must be judged all the same.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from dcp_conformance.harness.run.collecting import case_name
from dcp_conformance.harness.run.narrowing import SUITES
from dcp_conformance.harness.run.plugin import Conformance
from dcp_conformance.harness.verdicts.verdict import CaseOutcome
from tests.hostile.registry import HOSTILE, Hostile
from tests.mutants.matrix import ROOT, Matrix
from tests.mutants.registry import Mutant


@dataclass
class Row:
    """What one hostile backend came to. verdicts: clause -> the words of its cases; said: all that was said."""

    module: str
    verdicts: dict[str, list[str]]
    said: str
    seconds: float


class Warm(Matrix):
    """The matrix, with the cases that each hostile backend is registered for."""

    def __init__(self, hostile: Iterable[Hostile]) -> None:
        self.registered = {item.module: item for item in hostile}
        backends = [Mutant(name, f"tests.hostile.{name}", ()) for name in self.registered]
        super().__init__(backends, reach="own", clauses=frozenset(), why=False)
        self.came_to: list[Row] = []

    def _outcomes(self, ours: Conformance, run: Any, items: Iterable[pytest.Item], backend: Mutant) -> Any:
        cases = self.registered[backend.name].cases
        chosen = [item for item in items if not cases or case_name(item) in cases]
        return super()._outcomes(ours, run, chosen, backend)

    def _wanted(self, ours: Conformance, backend: Mutant) -> set[str]:
        return set(self.registered[backend.name].clauses)

    def _report(self, ours: Conformance, backend: Mutant, outcomes: list[CaseOutcome], seconds: float) -> None:
        verdicts: defaultdict[str, list[str]] = defaultdict(list)
        for outcome in outcomes:
            verdicts[outcome.clause].append(outcome.verdict.word)
        said = "\n".join(f"{o.clause} {o.case}: {o.reason} {o.finding}" for o in outcomes)
        self.came_to.append(Row(backend.name, dict(verdicts), said, round(seconds, 1)))
        print(f"{backend.name}: {dict(verdicts)} ({seconds:.1f} s)", flush=True)


def main(rows: str, names: list[str]) -> None:
    """Judge these, or all, and write the rows."""
    matrix = Warm(item for item in HOSTILE if not item.whole_run and (item.module in names or not names))
    with tempfile.TemporaryDirectory() as report:
        settings = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-q", "--noconftest", f"--rootdir={ROOT}"]
        settings += ["-p", "no:cacheprovider", "-p", "dcp_conformance.entry", f"--report-dir={report}"]
        pytest.main([*settings, str(SUITES), "--backend=dcp_conformance.harness.control"], plugins=[matrix])
    Path(rows).write_text(json.dumps([asdict(row) for row in matrix.came_to]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
