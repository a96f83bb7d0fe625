"""The progress line as a plugin of the process that a person watches; alone or with xdist's workers."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dcp_conformance.harness.certificate.causes import Sighting
from dcp_conformance.harness.certificate.terminal import HEIGHT, WIDTH
from dcp_conformance.harness.contract import Clause
from dcp_conformance.harness.run.progress import Progress
from dcp_conformance.harness.verdicts.verdict import CaseOutcome

# The name under which a case says in its report what it found; xdist sends it along.
_PROPERTY = "dcp-conformance"


def told(clauses: Sequence[Clause], outcomes: Sequence[CaseOutcome]) -> tuple[str, str]:
    """Return what a case tells of itself, to be put into the properties of its report."""
    by_id = {clause.id: clause for clause in clauses}
    broken = {}
    for outcome in outcomes:
        clause = by_id[outcome.clause]
        # A broken SHOULD is advice, and the line has room for a few ids only.
        if outcome.broken and clause.strength.name == "MUST":
            entry = {"id": clause.id, "level": clause.level, "strength": clause.strength.name}
            broken[clause.id] = int(Sighting(entry=entry, outcome=outcome).harm)
    return _PROPERTY, json.dumps({"level": clauses[0].level, "broken": broken})


class Watching:
    """Feeds a Progress from pytest's hooks, in place of pytest's dots."""

    def __init__(self, earlier: Path) -> None:
        """earlier: the certificate of an earlier run, which may not be there."""
        columns = shutil.get_terminal_size((WIDTH, HEIGHT)).columns
        self.progress = Progress(sys.stdout, live=sys.stdout.isatty(), width=columns - 1, earlier=_seconds(earlier))

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Keep names of files off the line."""
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.showfspath = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Expect the cases of a run without workers."""
        self.progress.expect(_case(item.nodeid) for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Expect the cases of a run with workers; every worker collects them all."""
        self.progress.expect(map(_case, ids))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a case that ended."""
        if report.when == "call":
            data = json.loads(str(dict(report.user_properties).get(_PROPERTY, "{}")))
            self.progress.done(_case(report.nodeid), data.get("level", ""), data.get("broken", {}))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, Any]:
        """Count a case as pytest does, and print no letter for it."""
        answer = yield
        return answer and (answer[0], "", "")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Take the line away."""
        self.progress.close()


def _case(nodeid: str) -> str:
    """Return the name of a case; a parameter may hold `::`."""
    return nodeid.partition("::")[2].removeprefix("test_")


def _seconds(certificate: Path) -> dict[str, float]:
    """Seconds for each case of an earlier run; empty where none can be read. What it says is not relied on."""
    try:
        data = json.loads(certificate.read_text(encoding="utf-8"))
        entries = [*data["clauses"], *data["engine_column"]]
        return {str(case["case"]): float(case["seconds"]) for entry in entries for case in entry["cases"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
