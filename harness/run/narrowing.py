"""Why a run proves less than a whole one does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression

from dcp_conformance import HOME
from dcp_conformance.harness.devices import SIMULATED
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.run.options import Options

PACKAGE = "dcp_conformance.suites"
SUITES = (HOME / "suites").resolve()
# Without those of arguments, `mark(name=1)`.
_NAME = re.compile(r"\b[a-zA-Z_]\w*\b(?!\s*=)")


def check_words(config: pytest.Config) -> None:
    """Refuse what pytest would refuse only after the backend was surveyed. Raises UsageError."""
    for word in config.args:
        place = word.partition("::")[0]
        if not os.path.exists(config.invocation_params.dir / place) and not place.startswith(PACKAGE):
            raise UsageError(
                f"{word}: there is no such file or folder. A run has one backend, and paths choose among the suites."
            )
    _check_expressions(config)
    workers = config.getoption("numprocesses", None)
    if isinstance(workers, int) and workers < 0:
        raise UsageError(f"-n {workers}: give the number of workers, or `auto`.")


def _check_expressions(config: pytest.Config) -> None:
    for option, text in (("-k", config.option.keyword), ("-m", config.option.markexpr)):
        try:
            if text:
                Expression.compile(text)
        except Exception as error:  # its class differs between releases of pytest
            raise UsageError(f"{option} {text!r}: the expression does not parse: {error}.") from None
    known = {re.split(r"[(:]", line)[0].strip() for line in config.getini("markers")}
    unknown = set(_NAME.findall(config.option.markexpr or "")) - known - {"and", "or", "not", "True", "False", "None"}
    if unknown:
        raise UsageError(f"-m {config.option.markexpr!r}: no case has the mark {min(unknown)!r}.")


def partial_reasons(session: pytest.Session, options: Options, unread: Iterable[str] = ()) -> tuple[str, ...]:
    """Return why a run was narrowed or its devices are none, in sentences; such a run holds no level.

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
    # By getattr: the plugin that has these options may be switched off (-p no:cacheprovider).
    if getattr(option, "lf", False) or getattr(option, "failedfirst", False) or getattr(option, "stepwise", False):
        reasons.append("an earlier run chose what to run")
    if option.deselect or option.ignore or getattr(option, "ignore_glob", None):
        reasons.append("--deselect or --ignore left something out")
    # By resolved path: `suites`, `./suites` and an absolute path all mean the whole.
    if any("::" in word or Path(word).resolve() != SUITES for word in session.config.args if word != PACKAGE):
        reasons.append("a path or node id chose what to run")
    if session.shouldstop or session.shouldfail:
        reasons.append(f"the run stopped early: {session.shouldstop or session.shouldfail}")
    return tuple(reasons)
