"""Pytest glue and nothing else: options, collection, one verdict per case, the certificate at the end.

The rules live elsewhere: harness.verdicts.judge decides, harness.certificate reports. `dcp_conformance.entry` loads
this module, and only in runs that name our suites.
"""

from __future__ import annotations

import functools
import inspect
import shutil
import sys
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dcp_conformance import HOME
from dcp_conformance.harness.backend.locate import locate
from dcp_conformance.harness.backend.server import Server
from dcp_conformance.harness.certificate import terminal
from dcp_conformance.harness.certificate.cleaning import Cleaner
from dcp_conformance.harness.certificate.prose import encodable, plain
from dcp_conformance.harness.certificate.redact import given_values, redact
from dcp_conformance.harness.certificate.reports import CERTIFICATE
from dcp_conformance.harness.commands.explain import explanation
from dcp_conformance.harness.contract import Clause, load_catalogue
from dcp_conformance.harness.devices import SIMULATED
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.laws.verbs import HarnessFault
from dcp_conformance.harness.run import options as option_list
from dcp_conformance.harness.run.closing import Finish, secrets
from dcp_conformance.harness.run.collecting import Cases, case_name
from dcp_conformance.harness.run.folders import Folders
from dcp_conformance.harness.run.marks import MARKERS
from dcp_conformance.harness.run.options import Options
from dcp_conformance.harness.run.run import Run
from dcp_conformance.harness.run.stopping import StopSignals, end_workers
from dcp_conformance.harness.run.store import Store
from dcp_conformance.harness.run.watching import Watching, told
from dcp_conformance.harness.scratch import filesystem_type
from dcp_conformance.harness.subject.subject import Subject
from dcp_conformance.harness.verdicts import levels
from dcp_conformance.harness.verdicts.judge import Body
from dcp_conformance.harness.verdicts.known_failures import KnownFailures
from dcp_conformance.harness.verdicts.known_failures import load as load_known_failures
from dcp_conformance.harness.verdicts.ownership import Applicability
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict

_LETTERS = {"S": "storage", "E": "engine", "P": "planners", "F": "torch's format", "U": "utilities"}
PACKAGE = "dcp_conformance.suites"
SUITES = (HOME / "suites").resolve()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options; called only when our suites are named."""
    option_list.add_options(parser.getgroup("dcp-conformance", "certify a checkpoint backend"))


def pytest_configure(config: pytest.Config) -> None:
    """Refuse unusable options before anything is started, then start the ranks and survey the backend."""
    for line in MARKERS:
        config.addinivalue_line("markers", line)
    # Help and a bare collection must work without a backend, and start nothing.
    if config.option.help or config.option.collectonly and not config.option.backend:
        return
    _leave_findings_to_the_summary(config.option)
    try:
        conformance = Conformance(config)
        config.pluginmanager.register(conformance, "dcp-conformance-run")
        if not conformance.is_worker and config.option.verbose == 0 and not config.option.collectonly:
            earlier = conformance.options.report_dir / CERTIFICATE
            config.pluginmanager.register(Watching(earlier), "dcp-conformance-progress")
    except UsageError as error:
        raise pytest.UsageError(_said(str(error))) from None


def _leave_findings_to_the_summary(option: Any) -> None:
    """Let pytest print no second account of what the summary says; -v and options that ask for one bring it back."""
    if option.verbose > 0:
        return
    if option.tbstyle == "auto":
        option.tbstyle = "no"
    if option.reportchars == "fE":
        option.reportchars = ""


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """What stops the collection is in no certificate: pytest shows it."""
    if report.failed:
        sys.stderr.write(f"{report.longreprtext}\n")


@pytest.fixture
def subject() -> None:
    """The backend under test, under its engine; the judge puts one in place for each trial."""


class Conformance:
    """The state of one pytest process that runs our suites."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        cwd = config.invocation_params.dir
        self.options = option_list.parse(config.getoption, cwd)
        self.catalogue = load_catalogue(SUITES)
        self.known = (
            KnownFailures() if self.options.known_failures is None else load_known_failures(self.options.known_failures)
        )
        for clause in (*self.options.clauses, *([self.options.explain] if self.options.explain else [])):
            # A mistyped id raises UsageError here, before ranks are started for it.
            self.catalogue[clause]
        self.run: Run | None = None
        self.store: Store | None = None
        self.finish: Finish | None = None
        self.left: list[str] = []
        self.unread: list[str] = []
        self.stop_signals = StopSignals()
        self.is_worker = self.controls = False
        self.partial: tuple[str, ...] = ()
        self.refused = ""
        self.cases = Cases(self.catalogue, self.options)
        if self.options.explain is None:
            self._begin(str(cwd))

    def _begin(self, cwd: str) -> None:
        # Before any process is started: most mistyped names are found without importing anything.
        locate(self.options.backend, cwd)
        given = getattr(self.config, "workerinput", None)
        self.is_worker = given is not None
        # Of an xdist run, the process that has workers judges nothing.
        self.controls = not self.is_worker and bool(self.config.getoption("numprocesses", None))
        folders = Folders.make(self.options) if given is None else Folders.told(given)
        worker = "main" if given is None else given["workerid"]
        self.run = Run(self.options, self.catalogue, folders, worker=worker, cwd=cwd, controls=self.controls)
        try:
            if given is None:
                self.stop_signals.install()
                self.finish = Finish(self.run, self.known)
                self.finish.check_report_folder()
                # It imports torch for seconds while pytest collects.
                self.run.cluster.launch()
        # Ctrl-C too: pytest calls no unconfigure of a plugin that was never registered.
        except BaseException:
            self.pytest_unconfigure()
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Survey the backend, except where workers can start and collect meanwhile."""
        if self.run is not None and not self.controls and not self.is_worker:
            self._survey()

    def _survey(self) -> None:
        assert self.run is not None
        try:
            self._prepare(self.run)
        except UsageError as error:
            if self.controls:
                # Workers wait for an answer; without one each would wait until its limit.
                self.run.tell_workers("")
            self.pytest_unconfigure()
            self.finish = self.run = None
            raise pytest.UsageError(_said(str(error))) from None

    def _prepare(self, run: Run) -> None:
        """Learn what the backend is and start what it needs. Raises UsageError."""
        surveyed = run.surveyed
        if self.controls:
            run.tell_workers(surveyed.as_json())
        # A server is started by the process that judges, so that each worker has ports and data of its own.
        elif surveyed.has_server:
            self.store = Store(Server(self.options.backend, self.options.backend_options, run.cwd), run)
            self.store.start()
        elif surveyed.description.patience != 1.0:
            run.restart({})

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker where to find the rest of this run."""
        assert self.run is not None
        node.workerinput.update(self.run.folders.as_data())

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker that ended in order said how its event file ends."""
        seal = getattr(node, "workeroutput", {}).get("dcp_seal")
        if self.finish is not None and seal is not None:
            self.finish.last[node.gateway.id] = seal
        self.refused = self.refused or getattr(node, "workeroutput", {}).get("dcp_refused", "")

    def pytest_report_header(self) -> list[str]:
        """What is certified, and where it writes; an xdist run says it once it knows."""
        return [] if self.run is None or self.controls else self._header()

    def _header(self) -> list[str]:
        assert self.run is not None
        surveyed, options = self.run.surveyed, self.options
        found = surveyed.description
        lines = [
            f"dcp-conformance {surveyed.versions['suite']}: certifying {found.name} {found.version} ({found.location})",
            f"it supplies {', '.join(_LETTERS[letter] for letter in found.letters)}; torch {found.torch}; "
            f"levels {', '.join(self.run.levels)}; ranks {', '.join(map(str, options.ranks))} on {options.device}",
            f"scratch {self.run.folder} ({filesystem_type(self.run.folder)}); report {options.report_dir}",
        ]
        return [_said(redact(line)) for line in (*lines, *found.notes, *surveyed.notes)]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One case for each world size that a test is marked with."""
        # By marker and not by a fixture: the sizes belong to the case's name, by which known failures find it.
        marker = metafunc.definition.get_closest_marker("worlds")
        if marker is not None:
            metafunc.parametrize("world", marker.args, ids=[f"{size}ranks" for size in marker.args])

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the cases of the levels, clauses and case that were asked for."""
        try:
            kept, dropped = self.cases.sort(items, self.config.option)
        except UsageError as error:
            # Raised from here, it would leave the workers of xdist without an answer and a certificate without cases.
            self.refused, kept, dropped = str(error), [], []
            items.clear()
        if dropped:
            self.config.hook.pytest_deselected(items=dropped)
            items[:] = kept

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that could not be imported takes its cases with it; pytest-xdist runs all others."""
        if report.failed:
            self.unread.append(report.nodeid)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write down the cases before the first one starts, so that one that vanishes is noticed."""
        if self.run is not None and not self.config.option.collectonly and not self.refused:
            clauses = self.cases.clauses
            names = map(case_name, session.items)
            self.run.log.collected({name: [clause.id for clause in clauses[name]] for name in names})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """`--explain` prints instead of running; what the session's start left to be done is done."""
        if self.options.explain is None:
            return self._begin_xdist() or None
        for line in explanation(self.catalogue[self.options.explain], self.options.report_dir):
            print(line)
        return True

    def _begin_xdist(self) -> bool:
        """Whether there is nothing to do for this worker."""
        if self.config.option.collectonly or self.run is None:
            return False
        if self.controls:
            self._survey()
            reporter = self.config.pluginmanager.get_plugin("terminalreporter")
            if reporter is not None and reporter.verbosity >= 0:
                for line in self._header():
                    reporter.write_line(line)
        elif self.is_worker:
            if self.run.is_called_off():
                return True
            self._survey()
        return False

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Judge a case: run its body once, and again under other storage or engines where blame must be settled."""
        if self.run is None:
            return None
        function, case = pyfuncitem.obj, case_name(pyfuncitem)
        given = {name: pyfuncitem.funcargs[name] for name in inspect.signature(function).parameters}

        def body(subject: Subject) -> None:
            function(**{**given, "subject": subject})

        # Written before the body runs: a case that started and never ended is an error of the run, not a case that is
        # missing.
        self.run.log.started(case)
        binding = {clause: self.run.applicability(clause) for clause in self.cases.clauses[case]}
        below = pyfuncitem.get_closest_marker("below_storage") is not None
        outcomes = self._too_large(pyfuncitem, case)
        if not outcomes:
            judge = functools.partial(self._judge, case, binding, body, below_storage=below)
            outcomes = judge() if self.store is None else self.store.judged(judge)
            for table in self.run.judge.tables:
                self.run.log.table(self._clean.table(table))
        # What this process knows to be secret never leaves it: not for a report, nor for the process that writes one.
        outcomes = [self._clean.outcome(outcome) for outcome in outcomes]
        for outcome in outcomes:
            self.run.log.outcome(outcome)
        pyfuncitem.user_properties.append(told(self.cases.clauses[case], outcomes))
        self._conclude(outcomes)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        """A fault of the harness is an error, not a failure of the backend."""
        report = yield
        if call.excinfo is not None and call.excinfo.errisinstance(HarnessFault):
            report.harness_fault = True
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """Count harness faults under errors."""
        if getattr(report, "harness_fault", False) and report.when == "call":
            return "error", "E", "ERROR"
        return None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, Any, Any]:
        """The exit code is the certificate's: levels decide it, not counts of tests."""
        if self.run is not None:
            self.run.cluster.close()  # nobody is left who could change what is written from here on
            self.run.log.finished(status=int(exitstatus), leftovers=self._clean.all(self.left))
            self._tell_seal(self.run)
        self.partial = partial_reasons(session, self.options, dict.fromkeys(self.unread))
        result = yield
        if self.refused:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        elif self.finish is not None and not self.config.option.collectonly:
            session.exitstatus = self.finish.exit_code(status=int(exitstatus), partial=self.partial)
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        """The levels, each broken promise as four sentences, and where the certificate lies."""
        if self.refused:
            terminalreporter.write_line(_said(f"ERROR: {self.refused}"))
            return
        if self.finish is None or self.config.option.collectonly:
            return
        columns, rows = shutil.get_terminal_size((terminal.WIDTH, terminal.HEIGHT))
        lines = self.finish.summary(
            status=int(exitstatus),
            partial=self.partial,
            width=min(max(columns, 60), 100),
            height=max(rows - 2, 24),
            details=terminalreporter.verbosity > 0,
        )
        for line in encodable(lines, sys.stdout.encoding):
            terminalreporter.write_line(line)

    def pytest_keyboard_interrupt(self) -> None:
        """A run that is stopped does not wait for its workers."""
        if self.controls and self.run is not None:
            end_workers(keep={self.run.cluster.server_pid()})

    def pytest_unconfigure(self) -> None:
        """End what this run started, also after Ctrl-C."""
        if self.run is not None:
            self.run.close()
        if self.store is not None:
            self.store.stop()
        if self.finish is not None:
            for line in encodable(map(plain, self.finish.clean_up()), sys.stderr.encoding):
                sys.stderr.write(f"{line}\n")
        self.stop_signals.restore()

    def _tell_seal(self, run: Run) -> None:
        """Say how the event file of this process ends, to the process that will read it."""
        if self.finish is not None:
            self.finish.last[run.worker] = run.log.last
        else:
            self.config.workeroutput["dcp_seal"] = run.log.last  # type: ignore[attr-defined]
            self.config.workeroutput["dcp_refused"] = self.refused  # type: ignore[attr-defined]

    def _too_large(self, item: pytest.Function, case: str) -> list[CaseOutcome]:
        world = int(str(item.funcargs.get("world", 1)))
        if world <= max(self.options.ranks):
            return []
        reason = f"needs {world} ranks, and --ranks allows {max(self.options.ranks)}"
        return [
            CaseOutcome(clause=clause.id, case=case, verdict=Verdict.UNTESTABLE, reason=reason)
            for clause in self.cases.clauses[case]
        ]

    def _conclude(self, outcomes: list[CaseOutcome]) -> None:
        """What pytest shows for a case: the worst word of its clauses, and the texts of those that have it."""
        # A case that one clause does not ask for, and another does, is not skipped.
        outcomes = [item for item in outcomes if item.verdict is not Verdict.NOT_APPLICABLE] or outcomes
        words = {outcome.clause: self._word(outcome) for outcome in outcomes}
        word = levels.worst_word(words.values())
        chosen = [outcome for outcome in outcomes if words[outcome.clause] == word]
        if word == "error":
            raise HarnessFault(_said(chosen[0].reason))
        if word == "failed":
            pytest.fail("\n\n".join(map(self._text, chosen)), pytrace=False)
        if word == "xfailed":
            pytest.xfail("\n".join(map(self._text, chosen)))
        if word == "skipped":
            pytest.skip(_said("; ".join(dict.fromkeys(f"{item.verdict.word}: {item.reason}" for item in chosen))))

    def _word(self, outcome: CaseOutcome) -> levels.PytestWord:
        assert self.run is not None
        clause = self.catalogue[outcome.clause]
        return levels.pytest_word(
            outcome,
            strength=clause.strength.name,
            column="engine" if self.run.applicability(clause).kind == "engine" and not outcome.broken else "backend",
            known=self.known.expected(outcome.clause, outcome.case) is not None,
            strict=self.options.strict,
        )

    def _text(self, outcome: CaseOutcome) -> str:
        lines = terminal.failure_lines(self.catalogue[outcome.clause], outcome)
        return self._clean("\n".join(lines))

    def _judge(
        self, case: str, binding: Mapping[Clause, Applicability], body: Body, *, below_storage: bool
    ) -> list[CaseOutcome]:
        assert self.run is not None
        judge = self.run.judge  # the one of now: a store that was started anew has ranks, and a judge, of its own
        outcomes = judge.judge(case, binding, body, below_storage=below_storage)
        self.left += judge.left
        judge.left.clear()
        return outcomes

    @property
    def _clean(self) -> Cleaner:
        given = {} if self.store is None else self.store.environment
        return Cleaner((*secrets(self.options), *given_values(given)))


def _said(text: str) -> str:
    """A text that may hold words of the backend, for a terminal."""
    return "\n".join(encodable(plain(text).split("\n"), sys.stdout.encoding))


def partial_reasons(session: pytest.Session, options: Options, unread: Iterable[str] = ()) -> tuple[str, ...]:
    """Why a run was narrowed or its devices are none, in sentences; such a run holds no level.

    unread: what could not be collected.
    """
    option = session.config.option
    reasons = [f"{place} could not be imported, and its cases are missing" for place in unread]
    if options.device == SIMULATED:
        reasons.append("the devices are simulated, which shows mistakes and proves nothing about real ones")
    if options.clauses or options.case:
        reasons.append("--clause or --case chose what to run")
    if option.keyword or option.markexpr:
        reasons.append("-k or -m chose what to run")
    if getattr(option, "lf", False) or getattr(option, "failedfirst", False) or getattr(option, "stepwise", False):
        reasons.append("an earlier run chose what to run")
    if option.deselect or option.ignore or getattr(option, "ignore_glob", None):
        reasons.append("--deselect or --ignore left something out")
    if any("::" in word or Path(word).resolve() != SUITES for word in session.config.args if word != PACKAGE):
        reasons.append("a path or node id chose what to run")
    if session.shouldstop or session.shouldfail:
        reasons.append(f"the run stopped early: {session.shouldstop or session.shouldfail}")
    return tuple(reasons)
