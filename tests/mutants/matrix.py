"""The kill matrix: every mutant against the clauses that must catch it, every variant against everything.

    python -m tests.mutants.matrix                 each mutant against the clauses that it is made to break
    python -m tests.mutants.matrix --full          ... and against all others of its levels: how narrow is it?
    python -m tests.mutants.matrix --variants      the correct but unusual backends against everything they claim
    python -m tests.mutants.matrix NAME NAME       these only

All backends share one pytest process, one fork server and its warm ranks: a mutant costs its cases and no start-up.
Exit code 1 for a mutant that survives or a variant with a finding.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.certificate.ownership import applicability
from harness.certificate.verdict import CaseOutcome, Verdict
from harness.judge import Judge
from harness.plugin import SUITES, Conformance, case_name
from harness.run import Run, Surveyed, bench, survey
from harness.subject import Subject
from tests.mutants.registry import Mutant, mutants
from tests.variants.registry import variants

ROOT = Path(__file__).resolve().parent.parent.parent


class Matrix:
    """A pytest plugin that runs the collected cases against many backends instead of one."""

    def __init__(self, backends: list[Mutant], *, full: bool, part: tuple[int, int]) -> None:
        self.backends, self.full, self.part = backends[part[0] :: part[1]], full, part
        self.problems: list[str] = []
        self.lines: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge every backend in turn; the ordinary loop is not run."""
        ours = session.config.pluginmanager.get_plugin("dcp-conformance-run")
        assert isinstance(ours, Conformance) and ours.run is not None
        for backend in self.backends:
            began = time.monotonic()
            outcomes = list(self._outcomes(ours, ours.run, session.items, backend))
            self._report(ours, backend, outcomes, time.monotonic() - began)
        return True

    def _outcomes(
        self, ours: Conformance, run: Run, items: Iterable[pytest.Item], backend: Mutant
    ) -> Iterator[CaseOutcome]:
        options = replace(run.options, backend=backend.reference)
        surveyed = survey(run.cluster, options, run.cwd)
        judge = Judge(bench(options, surveyed, run.folder, run.cwd, worker=backend.name), run.cluster)
        wanted = self._wanted(ours, backend)
        for item in items:
            assert isinstance(item, pytest.Function)
            clauses = ours.cases[case_name(item)]
            if any(clause.id in wanted for clause in clauses):
                yield from self._judged(judge, surveyed, item, clauses)

    def _wanted(self, ours: Conformance, backend: Mutant) -> set[str]:
        if not backend.breaks:
            return {clause.id for clause in ours.catalogue}
        levels = {ours.catalogue[clause].level for clause in backend.breaks}
        return {clause.id for clause in ours.catalogue if clause.level in levels} if self.full else set(backend.breaks)

    def _judged(self, judge: Judge, surveyed: Surveyed, item: pytest.Function, clauses: Any) -> list[CaseOutcome]:
        parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        binding = {clause: applicability(clause, surveyed.description, devices=surveyed.devices) for clause in clauses}
        below = item.get_closest_marker("below_storage") is not None

        def body(subject: Subject) -> None:
            item.obj(subject=subject, **parameters)

        return judge.judge(case_name(item), binding, body, below_storage=below)

    def _report(self, ours: Conformance, backend: Mutant, outcomes: list[CaseOutcome], seconds: float) -> None:
        caught = sorted({outcome.clause for outcome in outcomes if outcome.broken})
        errors = sorted({f"{o.clause}: {o.reason}" for o in outcomes if o.verdict is Verdict.HARNESS_ERROR})
        if backend.breaks:
            survived = sorted(set(backend.breaks) - set(caught))
            others = sorted(set(caught) - set(backend.breaks))
            self.problems += [f"{backend.name} survives {clause}: {_why(clause, outcomes)}" for clause in survived]
            line = f"{'SURVIVES' if survived else 'killed':9} {backend.name} by {', '.join(backend.breaks)}"
            line += f"; also breaks {', '.join(others)}" if others else ""
        else:
            must = [clause for clause in caught if ours.catalogue[clause].strength.value == "MUST"]
            self.problems += [f"{backend.name}: false alarm? {_why(clause, outcomes)}" for clause in must]
            line = f"{'FINDING' if must else 'clean':9} {backend.name}; advice: {', '.join(caught) or 'none'}"
        self.problems += [f"{backend.name}: harness-error {error}" for error in errors]
        self.lines.append(f"{line} ({seconds:.1f} s)")
        print(self.lines[-1], flush=True)


def _why(clause: str, outcomes: list[CaseOutcome]) -> str:
    """What its cases said: the finding where there is one, else the reason of the worst."""
    own = sorted((o for o in outcomes if o.clause == clause), key=lambda outcome: outcome.verdict, reverse=True)
    if not own:
        return f"no case checks {clause}"
    worst = own[0]
    said = worst.finding.observed if worst.finding else worst.reason
    return f"{clause}, {worst.case}: {worst.verdict.word}{' (engine)' if worst.engine else ''} {said}"


def main(words: list[str]) -> int:
    """Run the matrix as the command line says; the exit code is 1 for a survivor or a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.matrix")
    parser.add_argument("names", nargs="*", help="these mutants or variants only")
    parser.add_argument("--full", action="store_true", help="run each mutant against all clauses of its levels")
    parser.add_argument("--variants", action="store_true", help="run the unusual but correct backends")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="the I-th of N parts")
    given = parser.parse_args(words)
    index, count = (int(word) for word in given.part.split("/"))
    backends = [
        item for item in (variants() if given.variants else mutants()) if item.name in given.names or not given.names
    ]
    matrix = Matrix(backends, full=given.full or given.variants, part=(index - 1, count))
    with tempfile.TemporaryDirectory() as report:
        # This module needs the plugin's types, so pytest comes too late to rewrite its assertions.
        settings = [
            "-W",
            "ignore::pytest.PytestAssertRewriteWarning",
            "-q",
            "--noconftest",
            "-p",
            "no:cacheprovider",
            "-p",
            "dcp_conformance",
            f"--rootdir={ROOT}",
        ]
        pytest.main([*settings, str(SUITES), "--backend=harness.control", f"--report-dir={report}"], plugins=[matrix])
    print(f"{len(matrix.lines)} backends, {len(matrix.problems)} problems")
    for problem in matrix.problems:
        print(f"  {problem}")
    return int(bool(matrix.problems) or not matrix.lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
