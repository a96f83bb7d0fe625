"""Pytest glue and nothing else: options, collection, one verdict per case, the certificate at the end.

The rules live elsewhere: harness.verdicts.judge decides, harness.certificate reports. `dcp_conformance.entry` loads
this module, and only in runs that name our suites.
"""

from __future__ import annotations

import functools
import inspect
import shutil
import sys
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from dcp_conformance.harness.certificate import terminal
from dcp_conformance.harness.certificate.cleaning import Cleaner
from dcp_conformance.harness.certificate.prose import encodable, plain
from dcp_conformance.harness.certificate.redact import given_values, redact
from dcp_conformance.harness.certificate.reports import CERTIFICATE
from dcp_conformance.harness.commands.explain import explanation
from dcp_conformance.harness.contract import Clause, load_catalogue
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.laws.verbs import HarnessFault
from dcp_conformance.harness.run import options as option_list
from dcp_conformance.harness.run.closing import secrets
from dcp_conformance.harness.run.collecting import Cases, case_name
from dcp_conformance.harness.run.concluding import Conclusion, said
from dcp_conformance.harness.run.marks import MARKERS
from dcp_conformance.harness.run.narrowing import SUITES, check_words, partial_reasons
from dcp_conformance.harness.run.options import Options
from dcp_conformance.harness.run.run import Run
from dcp_conformance.harness.run.sides import Controller, Worker, side_of
from dcp_conformance.harness.run.watching import Watching, told
from dcp_conformance.harness.scratch import filesystem_type
from dcp_conformance.harness.subject.subject import Subject
from dcp_conformance.harness.verdicts.known_failures import KnownFailures
from dcp_conformance.harness.verdicts.known_failures import load as load_known_failures
from dcp_conformance.harness.verdicts.ownership import Applicability
from dcp_conformance.harness.verdicts.trials import Body
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict

_LETTERS = {"S": "storage", "E": "engine", "P": "planners", "F": "torch's format", "U": "utilities"}


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
        check_words(config)
        options = option_list.parse(config.getoption, config.invocation_params.dir)
        if options.explain is not None:
            config.pluginmanager.register(Explaining(options), "dcp-conformance-explain")
            return
        conformance = Conformance(config, options)
    except UsageError as error:
        raise pytest.UsageError(said(str(error))) from None
    config.pluginmanager.register(conformance, "dcp-conformance-run")
    watched = config.option.verbose == 0 and not config.option.collectonly
    if watched and not isinstance(conformance.side, Worker):
        earlier = options.report_dir / CERTIFICATE
        config.pluginmanager.register(Watching(earlier), "dcp-conformance-progress")


def _leave_findings_to_the_summary(option: Any) -> None:
    """Let pytest print no second account of what the summary says; -v and options that ask for one bring it back."""
    if option.verbose > 0:
        return
    if option.tbstyle == "auto":
        option.tbstyle = "no"
    if option.reportchars == "fE":
        option.reportchars = ""


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Show what stops the collection, as it is in no certificate."""
    if report.failed:
        sys.stderr.write(f"{report.longreprtext}\n")


@pytest.fixture
def subject() -> None:
    """Stand for the backend under test, under its engine; the judge puts one in place for each trial."""


class Explaining:
    """A session that prints one clause in place of running it."""

    def __init__(self, options: Options) -> None:
        self._explain, self._reports = str(options.explain), options.report_dir
        self._catalogue = load_catalogue(SUITES)
        self._catalogue[self._explain]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        """Print it; nothing is run."""
        for line in explanation(self._catalogue[self._explain], self._reports):
            print(line)
        return True


class Conformance:
    """The state of one pytest process that runs our suites. What differs between the kinds of process is its `side`."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.catalogue = load_catalogue(SUITES)
        options = replace(options, clauses=self.catalogue.current(options.clauses))
        self.config, self.options = config, options
        place = options.known_failures
        # Read before anything is made: a file that cannot be used costs no folder and no process.
        known = KnownFailures() if place is None else load_known_failures(place).current(self.catalogue)
        unknown = known.unknown(self.catalogue)
        if unknown:
            raise UsageError("\n".join(unknown))
        for clause in options.clauses:
            # A mistyped id raises UsageError here, before ranks are started for it.
            if self.catalogue[clause].excluded is not None:
                raise UsageError(f"--clause={clause}: nothing checks it. {self.catalogue[clause].excluded}")
        self.cases = Cases(self.catalogue, options)
        self.left: list[str] = []
        self.unread: list[str] = []
        self.partial: tuple[str, ...] = ()
        self.refused = ""
        self.is_unread = False  # the collection ended with an error of the command line, which pytest tells
        self.is_over = False  # before a case could run: the backend is unusable
        self.side = side_of(config, options, self.catalogue, known)

    @property
    def run(self) -> Run:
        """The run that this process takes part in."""
        return self.side.run

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Survey the backend, except where workers can start and collect meanwhile."""
        if self.side.surveys_at_start:
            self._survey()

    def _survey(self) -> None:
        try:
            self.side.survey()
        except UsageError as error:
            self.is_over = True
            self.pytest_unconfigure()
            # It may hold words of the backend, of its start() for one.
            raise pytest.UsageError(said(self._clean(str(error)))) from None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker where to find the rest of this run."""
        self.side.tell(node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Keep what a worker that ended in order said about the end of its event file."""
        refused = self.side.hear(getattr(node, "workeroutput", {}), node.gateway.id)
        self.refused = self.refused or refused

    def pytest_report_header(self) -> list[str]:
        """Say what is certified, and where the run writes. An xdist run says it once it knows."""
        return self._header() if self.side.surveys_at_start else []

    def _header(self) -> list[str]:
        surveyed, options = self.run.surveyed, self.options
        found = surveyed.description
        lines = [
            f"dcp-conformance {surveyed.versions['suite']}: certifying {found.name} {found.version} ({found.location})",
            f"it supplies {', '.join(_LETTERS[letter] for letter in found.letters)}; torch {found.torch}; "
            f"levels {', '.join(self.run.levels)}; ranks {', '.join(map(str, options.ranks))} on {options.device}",
            f"scratch {self.run.folder} ({filesystem_type(self.run.folder)}); report {options.report_dir}",
        ]
        return [said(redact(line)) for line in (*lines, *options.expectation, *found.notes, *surveyed.notes)]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one case for each world size that a test is marked with."""
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
        """Note a module that could not be imported: its cases are missing, and pytest-xdist runs all others."""
        if report.failed:
            self.unread.append(report.nodeid)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write down the cases before the first one starts, so that one that vanishes is noticed."""
        # Nothing is sorted where another hook has ended the collection with an error.
        if not self.config.option.collectonly and not self.refused and self.cases.clauses:
            clauses = self.cases.clauses
            names = map(case_name, session.items)
            self.run.log.collected({name: [clause.id for clause in clauses[name]] for name in names})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool | None:
        """Do what the session's start left to be done; True, which ends the loop, where there is nothing to run."""
        if self.config.option.collectonly or self.side.surveys_at_start:
            return None
        if self.side.is_called_off():
            return True
        self._survey()
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if self.side.finish is not None and reporter is not None and reporter.verbosity >= 0:
            for line in self._header():
                reporter.write_line(line)
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Judge a case: run its body once, and again under other storage or engines where blame must be settled."""
        # pytest's own call is replaced: the body runs once for each trial, and its fixtures are only data.
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
            outcomes = judge() if self.side.store is None else self.side.store.judged(judge)
            for table in self.run.judge.tables:
                self.run.log.table(self._clean.table(table))
        # What this process knows to be secret never leaves it: not for a report, nor for the process that writes one.
        outcomes = [self._clean.outcome(outcome) for outcome in outcomes]
        for outcome in outcomes:
            self.run.log.outcome(outcome)
        pyfuncitem.user_properties.append(told(self.cases.clauses[case], outcomes))
        Conclusion(run=self.run, clean=self._clean).show(outcomes)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        """Report a fault of the harness as an error, not as a failure of the backend."""
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
        """Take the exit code from the certificate: levels decide it, not counts of tests."""
        if not self.is_over:
            self.run.cluster.close()  # nobody is left who could change what is written from here on
            self.run.log.finished(status=int(exitstatus), leftovers=self._clean.all(self.left))
            self.side.end(self.refused)
        # An expression behind -k that does not parse, for one. A controller of workers never sorts cases itself.
        self.is_unread = (
            exitstatus == pytest.ExitCode.USAGE_ERROR
            and not isinstance(self.side, Controller)
            and not self.cases.clauses
        )
        self.partial = partial_reasons(session, self.options, dict.fromkeys(self.unread))
        result = yield
        if self.refused:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        elif self._certifies:
            assert self.side.finish is not None
            session.exitstatus = self.side.finish.exit_code(status=int(exitstatus), partial=self.partial)
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        """Print the levels, each broken promise as four sentences, and where the certificate lies."""
        if self.refused:
            terminalreporter.write_line(said(f"ERROR: {self.refused}"))
        elif self._certifies:
            self._summarise(terminalreporter, exitstatus)

    def _summarise(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        assert self.side.finish is not None
        columns, rows = shutil.get_terminal_size((terminal.WIDTH, terminal.HEIGHT))
        lines = self.side.finish.summary(
            status=int(exitstatus),
            partial=self.partial,
            width=min(max(columns, 60), 100),
            height=max(rows - 2, 24),
            details=terminalreporter.verbosity > 0,
        )
        for line in encodable(lines, sys.stdout.encoding):
            terminalreporter.write_line(line)

    def pytest_keyboard_interrupt(self) -> None:
        """End the workers of a run that is stopped, without waiting for them."""
        self.side.interrupt()

    def pytest_unconfigure(self) -> None:
        """End what this run started, also after Ctrl-C."""
        for line in encodable(map(plain, self.side.close()), sys.stderr.encoding):
            sys.stderr.write(f"{line}\n")

    @property
    def _certifies(self) -> bool:
        """Whether this process has cases of which to make a certificate."""
        if self.side.finish is None or self.is_over or self.is_unread:
            return False
        return not self.config.option.collectonly

    def _too_large(self, item: pytest.Function, case: str) -> list[CaseOutcome]:
        world = int(str(item.funcargs.get("world", 1)))
        if world <= max(self.options.ranks):
            return []
        reason = f"needs {world} ranks, and --ranks allows {max(self.options.ranks)}"
        return [
            CaseOutcome(clause=clause.id, case=case, verdict=Verdict.UNTESTABLE, reason=reason)
            for clause in self.cases.clauses[case]
        ]

    def _judge(
        self, case: str, binding: Mapping[Clause, Applicability], body: Body, *, below_storage: bool
    ) -> list[CaseOutcome]:
        judge = self.run.judge  # the one of now: a store that was started anew has ranks, and a judge, of its own
        outcomes = judge.judge(case, binding, body, below_storage=below_storage)
        self.left += judge.trials.left
        judge.trials.left.clear()
        return outcomes

    @property
    def _clean(self) -> Cleaner:
        given = {} if self.side.store is None else self.side.store.environment
        return Cleaner((*secrets(self.options), *given_values(given)))
