"""The kill matrix: every mutant against the clauses that must catch it, every variant against everything.

    python -m tests.mutants.matrix                 each mutant against the clauses that must catch it, until they have
    python -m tests.mutants.matrix --reach own     ... in all their cases: what else breaks there?
    python -m tests.mutants.matrix --reach area    ... and against the others of their areas: how narrow is it?
    python -m tests.mutants.matrix --reach level   ... and against the others of their levels
    python -m tests.mutants.matrix --variants      the correct but unusual backends against everything they claim
    python -m tests.mutants.matrix --without       those that lack a capability each, and those that lack many
    python -m tests.mutants.matrix NAME NAME       these only; with --why, what was seen of each
    python -m tests.mutants.matrix --jobs 2        in as many processes

All backends share one pytest process, one fork server and its warm ranks: a mutant costs its cases and no start-up.
Exit code 1 for a mutant that survives or a variant with a finding.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dcp_conformance.harness.backend.description import Surveyed
from dcp_conformance.harness.backend.server import Server
from dcp_conformance.harness.contract import Clause
from dcp_conformance.harness.run.collecting import case_name
from dcp_conformance.harness.run.narrowing import SUITES
from dcp_conformance.harness.run.plugin import Conformance
from dcp_conformance.harness.run.run import Run, bench, survey
from dcp_conformance.harness.subject.subject import Subject
from dcp_conformance.harness.verdicts.judge import Judge
from dcp_conformance.harness.verdicts.ownership import applicability
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict
from tests.mutants.registry import Mutant, mutants
from tests.variants.registry import made_without, variants

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Row:
    """What one backend came to. caught: the clauses that it was seen to break; problems: what must not be."""

    line: str
    breaks: tuple[str, ...]
    caught: tuple[str, ...]
    problems: tuple[str, ...]


class Matrix:
    """A pytest plugin that runs the collected cases against many backends instead of one."""

    def __init__(self, backends: Iterable[Mutant], *, reach: str, clauses: frozenset[str], why: bool) -> None:
        self.backends, self.reach, self.clauses, self.why = backends, reach, clauses, why
        self.rows: list[Row] = []
        self.owned_only = False
        self.owned: set[str] = set()  # of a variant, the clauses that bind it

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge every backend in turn; the ordinary loop is not run."""
        ours = session.config.pluginmanager.get_plugin("dcp-conformance-run")
        assert isinstance(ours, Conformance)
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
        with _served(run, surveyed, backend):
            judge = Judge(bench(options, surveyed, run.folder, run.cwd, worker=backend.name), run.cluster)
            yield from self._of_cases(ours, judge, surveyed, items, backend)

    def _of_cases(
        self, ours: Conformance, judge: Judge, surveyed: Surveyed, items: Iterable[pytest.Item], backend: Mutant
    ) -> Iterator[CaseOutcome]:
        wanted = self._wanted(ours, backend)
        alive = set(backend.breaks)
        for item in self._in_order(ours, items, wanted):
            clauses = ours.cases.clauses[case_name(item)]
            if backend.breaks and not alive and (self.reach == "kill" or (self.reach == "own" and _is_drawn(item))):
                return
            outcomes = self._judged(judge, surveyed, item, clauses)
            alive -= {outcome.clause for outcome in outcomes if outcome.broken}
            yield from outcomes

    def _in_order(self, ours: Conformance, items: Iterable[pytest.Item], wanted: set[str]) -> list[pytest.Function]:
        """Return the cases of the wanted clauses, those that ask for little else first.

        Drawn cases last: what another case has caught already is not looked for in hundreds of combinations.
        """
        asked = {item: {clause.id for clause in ours.cases.clauses[case_name(item)]} for item in items}
        chosen = [item for item in items if isinstance(item, pytest.Function) and asked[item] & wanted]
        return sorted(chosen, key=lambda item: (_is_drawn(item), len(asked[item] - wanted)))

    def _wanted(self, ours: Conformance, backend: Mutant) -> set[str]:
        self.owned_only, self.owned = not backend.breaks, set()
        if not backend.breaks:
            return {clause.id for clause in ours.catalogue if not self.clauses or clause.id in self.clauses}
        near = {self._neighbourhood(ours.catalogue[clause]) for clause in backend.breaks}
        return {clause.id for clause in ours.catalogue if self._neighbourhood(clause) in near}

    def _neighbourhood(self, clause: Clause) -> str:
        return {"kill": clause.id, "own": clause.id, "area": clause.id.partition("-")[0], "level": clause.level}[
            self.reach
        ]

    def _judged(self, judge: Judge, surveyed: Surveyed, item: pytest.Function, clauses: Any) -> list[CaseOutcome]:
        parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        binding = {clause: applicability(clause, surveyed.description, devices=surveyed.devices) for clause in clauses}
        self.owned |= {clause.id for clause, applies in binding.items() if applies.kind == "owned"}
        below = item.get_closest_marker("below_storage") is not None
        if self.owned_only and all(applies.kind != "owned" for applies in binding.values()):
            return []  # what torch's engine does over it is no news, and takes longer than all the rest: it hangs

        def body(subject: Subject) -> None:
            item.obj(subject=subject, **parameters)

        return judge.judge(case_name(item), binding, body, below_storage=below)

    def _report(self, ours: Conformance, backend: Mutant, outcomes: list[CaseOutcome], seconds: float) -> None:
        caught = tuple(sorted({outcome.clause for outcome in outcomes if outcome.broken}))
        problems = sorted({f"{o.clause}: {o.reason}" for o in outcomes if o.verdict is Verdict.HARNESS_ERROR})
        problems = [f"{backend.name}: harness-error {error}" for error in problems]
        undecided = sorted({o.clause for o in outcomes if o.verdict is Verdict.UNTESTABLE} & self.owned)
        if backend.breaks:
            survived = sorted(set(backend.breaks) - set(caught))
            others = sorted(set(caught) - set(backend.breaks))
            problems += [f"{backend.name} survives {clause}: {_why(clause, outcomes)}" for clause in survived]
            line = f"{'SURVIVES' if survived else 'killed':9} {backend.name} by {', '.join(backend.breaks)}"
            line += f"; also breaks {', '.join(others)}" if others else ""
        else:
            must = [clause for clause in caught if ours.catalogue[clause].strength.value == "MUST"]
            problems += [f"{backend.name}: false alarm? {_why(clause, outcomes)}" for clause in must]
            line = f"{'FINDING' if must else 'clean':9} {backend.name}; advice: {', '.join(caught) or 'none'}"
            line += f"; undecided: {', '.join(undecided)}" if undecided else ""
        self.rows.append(Row(f"{line} ({seconds:.1f} s)", backend.breaks, caught, tuple(problems)))
        print(self.rows[-1].line, flush=True)
        if self.why:
            print("\n".join(f"    {_why(clause, outcomes)}" for clause in (*caught, *undecided)), flush=True)


@contextlib.contextmanager
def _served(run: Run, surveyed: Surveyed, backend: Mutant) -> Iterator[None]:
    """Have the server of a backend that has one, and ranks that know where it is; afterwards ranks without it."""
    if not surveyed.has_server:
        yield
        return
    server = Server(backend.reference, (), run.cwd)
    try:
        run.restart(server.start())
        yield
    finally:
        server.stop()
        run.restart({})


def _is_drawn(item: pytest.Item) -> bool:
    return item.path.name == "test_drawn.py"


def _why(clause: str, outcomes: list[CaseOutcome]) -> str:
    """What its cases said: the finding where there is one, else the reason of the worst."""
    own = sorted((o for o in outcomes if o.clause == clause), key=lambda outcome: outcome.verdict, reverse=True)
    if not own:
        return f"no case checks {clause}"
    worst = own[0]
    said = worst.finding.observed if worst.finding else worst.reason
    return f"{clause}, {worst.case}: {worst.verdict.word}{' (engine)' if worst.engine else ''} {said}"


def run(
    backends: list[Mutant], *, reach: str, clauses: frozenset[str], why: bool = False, claims: str = ""
) -> list[Row]:
    """Judge these backends in this process; prints a line for each as it ends, and (`why`) what each clause saw.

    claims: a folder that other processes look into as well, where the first to claim a backend gets it.
    """
    rows: list[Row] = []
    for device in sorted({backend.device for backend in backends}):
        chosen = (item for item in backends if item.device == device and (not claims or _claimed(claims, item)))
        rows += _run_on(device, chosen, reach=reach, clauses=clauses, why=why)
    return rows


def _claimed(folder: str, backend: Mutant) -> bool:
    try:
        Path(folder, backend.name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _run_on(device: str, backends: Iterable[Mutant], *, reach: str, clauses: frozenset[str], why: bool) -> list[Row]:
    matrix = Matrix(backends, reach=reach, clauses=clauses, why=why)
    with tempfile.TemporaryDirectory() as report:
        # This module needs the plugin's types, so pytest comes too late to rewrite its assertions.
        settings = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-q", "--noconftest", f"--rootdir={ROOT}"]
        settings += ["-p", "no:cacheprovider", "-p", "dcp_conformance.entry"]
        pytest.main(
            [
                *settings,
                str(SUITES),
                "--backend=dcp_conformance.harness.control",
                f"--report-dir={report}",
                f"--device={device}",
            ],
            plugins=[matrix],
        )
    return matrix.rows


def run_in_jobs(jobs: int, words: list[str]) -> list[Row]:
    """Judge the backends that `words` mean in several processes; what they print is passed on."""
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder, f"{number}.json") for number in range(1, jobs + 1)]
        command = [sys.executable, "-m", "tests.mutants.matrix", *words]
        claims = Path(folder, "claims")
        claims.mkdir()
        processes = [subprocess.Popen([*command, "--claims", str(claims), "--rows", str(place)]) for place in places]
        codes = [process.wait() for process in processes]
        lost = [str(number) for number, place in enumerate(places, 1) if not place.exists()]
        if lost:
            raise SystemExit(f"part {', '.join(lost)} of the matrix ended without a result (exit codes {codes})")
        return [Row(**{**row, "breaks": tuple(row["breaks"])}) for p in places for row in json.loads(p.read_text())]


def summary(rows: list[Row]) -> list[str]:
    """The kill matrix by clause, how narrow the mutants are, and every problem."""
    killers: dict[str, int] = {}
    for row in rows:
        for clause in set(row.breaks) & set(row.caught):
            killers[clause] = killers.get(clause, 0) + 1
    wide = sorted(len(set(row.caught) - set(row.breaks)) for row in rows if row.breaks)
    problems = [problem for row in rows for problem in row.problems]
    lines = []
    if killers:
        lines.append("Mutants killed by each clause: " + ", ".join(f"{c} {n}" for c, n in sorted(killers.items())))
        lines.append(
            f"Narrowness: {wide.count(0)} of {len(wide)} mutants break nothing but what they are made to break; "
            f"other clauses broken: median {statistics.median(wide):g}, most {wide[-1]}"
        )
    lines.append(f"{len(rows)} backends, {len(problems)} problems")
    return [*lines, *(f"  {problem}" for problem in problems)]


def main(words: list[str]) -> int:
    """Run the matrix as the command line says; the exit code is 1 for a survivor or a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.matrix")
    parser.add_argument("names", nargs="*", help="these mutants or variants only")
    reaches = ("kill", "own", "area", "level")
    parser.add_argument("--reach", choices=reaches, default="kill", help="which cases and clauses to run besides")
    parser.add_argument("--variants", action="store_true", help="run the unusual but correct backends")
    parser.add_argument("--without", action="store_true", help="run those that lack capabilities, and say so")
    parser.add_argument("--clauses", default="", metavar="ID,ID", help="with either of them: these clauses only")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="the I-th of N parts")
    parser.add_argument("--claims", default="", metavar="DIR", help="where processes that share the work claim theirs")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that share the work")
    parser.add_argument("--why", action="store_true", help="also print what was observed: is it the mutant's own bug?")
    parser.add_argument("--rows", metavar="FILE", help="write the results there instead of a summary")
    given = parser.parse_args(words)
    if given.jobs > 1:
        place = words.index("--jobs")
        rows = run_in_jobs(given.jobs, words[:place] + words[place + 2 :])
    else:
        index, count = (int(word) for word in given.part.split("/"))
        everything = variants() if given.variants else made_without() if given.without else mutants()
        chosen = [item for item in everything if item.name in given.names or not given.names][index - 1 :: count]
        clauses = frozenset(filter(None, given.clauses.split(",")))
        rows = run(chosen, reach=given.reach, clauses=clauses, why=given.why, claims=given.claims)
    if given.rows:
        Path(given.rows).write_text(json.dumps([asdict(row) for row in rows]))
    else:
        print("\n".join(summary(rows)))
    return int(any(row.problems for row in rows) or not rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
