"""The certificate as JUnit XML, for the systems that read nothing else: one testcase for each clause and case."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from dcp_conformance.harness.certificate.bases import basis_words, title_of
from dcp_conformance.harness.certificate.prose import broken_lines, plain
from dcp_conformance.harness.verdicts.known_failures import KnownFailure, KnownFailures, known_of
from dcp_conformance.harness.verdicts.levels import pytest_word
from dcp_conformance.harness.verdicts.verdict import NOT_EXERCISED, CaseOutcome, Column

# What XML 1.0 cannot hold, even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(certificate: Mapping[str, Any]) -> str:
    """Return the document as text. Advice, known failures and the engine's failures are skipped, with their message."""
    suites = ElementTree.Element("testsuites", name="dcp-conformance")
    columns: tuple[tuple[str, Column], ...] = (("clauses", "backend"), ("engine_column", "engine"))
    for key, column in columns:
        for level in certificate["levels"]:
            entries = [entry for entry in certificate[key] if entry["level"] == level["level"]]
            if entries:
                _suite(suites, certificate, level["level"], column, entries)
    _errors(suites, certificate["run"]["errors"])
    suites.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites):.3f}")
    for name in ("tests", "failures", "errors", "skipped"):
        suites.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _suite(
    suites: ElementTree.Element,
    certificate: Mapping[str, Any],
    level: str,
    column: Column,
    entries: list[Mapping[str, Any]],
) -> None:
    name = level if column == "backend" else f"{level} ({certificate['engine']})"
    suite = ElementTree.SubElement(suites, "testsuite", name=_text(name), timestamp=certificate["run"]["started"])
    known = known_of(certificate) if column == "backend" else KnownFailures()
    for entry in entries:
        if not entry["cases"]:
            ElementTree.SubElement(_testcase(suite, name, entry["id"], 0.0), "skipped", message=NOT_EXERCISED)
        for outcome in map(CaseOutcome.from_data, entry["cases"]):
            expected = known.expected(outcome.clause, outcome.case)
            case = _testcase(suite, name, f"{entry['id']} [{outcome.case}]", outcome.seconds)
            _properties(case, entry)
            _result(case, entry, outcome, column, expected, strict=certificate["run"]["strict"])
    _totals(suite)


def _testcase(suite: ElementTree.Element, level: str, name: str, seconds: float) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=_text(f"dcp-conformance.{level}"), name=_text(name), time=f"{seconds:.3f}"
    )


def _properties(case: ElementTree.Element, entry: Mapping[str, Any]) -> None:
    """On whose word the clause stands and what it costs, for who sorts by it."""
    properties = ElementTree.SubElement(case, "properties")
    basis = basis_words(entry["basis"], experimental=entry["experimental"])
    for name, value in (("strength", entry["strength"]), ("basis", basis)):
        ElementTree.SubElement(properties, "property", name=name, value=_text(value))


def _result(
    case: ElementTree.Element,
    entry: Mapping[str, Any],
    outcome: CaseOutcome,
    column: Column,
    known: KnownFailure | None,
    *,
    strict: bool,
) -> None:
    word = pytest_word(outcome, strength=entry["strength"], column=column, known=known is not None, strict=strict)
    observed = outcome.finding.observed if outcome.finding else outcome.reason
    if word == "xfailed":
        # A skipped element holds no text in most readers, so its evidence goes to the output of the case.
        kind = _kind(outcome, column, known)
        ElementTree.SubElement(case, "skipped", message=_text(f"{kind}: {observed}"))
        ElementTree.SubElement(case, "system-out").text = _evidence(entry, outcome)
    elif word == "failed":
        message = _text(f"{outcome.verdict.word}: {observed}")
        ElementTree.SubElement(case, "failure", message=message, type=outcome.verdict.word).text = _evidence(
            entry, outcome
        )
    elif word != "passed":
        tag = "error" if word == "error" else "skipped"
        result = ElementTree.SubElement(case, tag, message=_text(f"{outcome.verdict.word}: {outcome.reason}"))
        if tag == "error":
            result.set("type", outcome.verdict.word)


def _kind(outcome: CaseOutcome, column: Column, known: KnownFailure | None) -> str:
    if outcome.engine or column == "engine":
        return "engine"
    return f"known failure ({known.reason})" if known else "advice"


def _evidence(entry: Mapping[str, Any], outcome: CaseOutcome) -> str:
    title = title_of(entry)
    return _text("\n".join(broken_lines(title=title, promise=entry["promise"], outcome=outcome, width=100)))


def _errors(suites: ElementTree.Element, errors: list[str]) -> None:
    """Errors of the run itself, so that a reader of this file alone sees why the exit code is 1."""
    if not errors:
        return
    suite = ElementTree.SubElement(suites, "testsuite", name="run")
    for number, error in enumerate(errors, start=1):
        case = _testcase(suite, "run", f"error {number}", 0.0)
        ElementTree.SubElement(case, "error", message=_text(error), type="run")
    _totals(suite)


def _totals(suite: ElementTree.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))


def _text(text: str) -> str:
    return _NOT_XML.sub("?", plain(text))
