"""The certificate as a Markdown summary of at most 60 lines, for the page of a run in continuous integration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dcp_conformance.harness.certificate.bases import own_demands
from dcp_conformance.harness.certificate.causes import Cause, causes_of
from dcp_conformance.harness.certificate.prose import count, one_line, plain
from dcp_conformance.harness.verdicts.levels import LevelResult

MOST_LINES = 60
MARKER = "<!-- dcp-conformance summary -->"
_CAUSES = 8
_ERRORS = 5
_CELL = 220
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~@!&$])")


def markdown(certificate: Mapping[str, Any]) -> str:
    """Return the summary as text. What a backend says is shown as text, whatever markup it holds."""
    lines = [*_heading(certificate), *_levels(certificate), *_causes(certificate), *_beside(certificate)]
    assert len(lines) <= MOST_LINES, len(lines)
    return "\n".join(lines) + "\n"


def _heading(certificate: Mapping[str, Any]) -> Iterator[str]:
    backend, run = certificate["backend"], certificate["run"]
    yield MARKER
    yield f"## {_safe(backend['name'])} {_safe(backend['version'])}: DCP conformance"
    yield ""
    code = f"; commit {_safe(backend['commit'])}" if backend["commit"] else ""
    suite = f"suite {_safe(certificate['suite']['version'])}"
    yield f"{_safe(certificate['engine'])}; {suite}; {_safe(run['started'])}{code}"
    if run["partial"]:
        yield ""
        yield f"**Partial run, no level is held:** {_safe('; '.join(run['partial']))}"
    for error in run["errors"][:_ERRORS]:
        yield f"- **error of the run:** {_safe(error)}"
    yield ""


def _levels(certificate: Mapping[str, Any]) -> Iterator[str]:
    yield "| level | state | kept | our own MUSTs kept | broken | SHOULD broken | undecided |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    own = own_demands(certificate)
    for level in map(LevelResult.from_data, certificate["levels"]):
        if level.level in certificate["run"]["levels"]:
            undecided = len(level.untestable) + len(level.not_exercised) + len(level.harness_errors)
            state = f"**{level.label}**" if level.state != "held" else level.label
            numbers = f"{len(level.broken) + len(level.known)} | {level.should_broken} | {undecided}"
            ours = f"{own[level.level].kept} of {own[level.level].owned}" if level.level in own else "none"
            yield f"| {level.level} | {state} | {level.kept} of {level.owned} | {ours} | {numbers} |"
    yield ""


def _causes(certificate: Mapping[str, Any]) -> Iterator[str]:
    causes = causes_of(certificate)
    if not causes:
        yield "No promise was seen broken that costs a level."
        return
    yield f"### {count(len(causes), 'cause')}, worst harm first"
    yield ""
    for number, cause in enumerate(causes[:_CAUSES], start=1):
        yield from _cause(number, cause)
    if len(causes) > _CAUSES:
        rest = dict.fromkeys(clause for cause in causes[_CAUSES:] for clause in cause.clauses)
        yield _safe(f"and {count(len(causes) - _CAUSES, 'more cause')}: {', '.join(rest)}")


def _cause(number: int, cause: Cause) -> Iterator[str]:
    finding = cause.worst.outcome.finding
    clauses = ", ".join(cause.clauses[:6]) + (" and more" if len(cause.clauses) > 6 else "")
    yield f"{number}. **{cause.harm.words}**: {clauses}: {_safe(cause.worst.entry['promise'])}"
    yield f"   - observed: {_safe(cause.worst.observed)}"
    if finding and finding.reproduce:
        yield f"   - `{one_line(finding.reproduce, 500).replace('`', '?')}`"


def _beside(certificate: Mapping[str, Any]) -> Iterator[str]:
    advice = [clause for level in certificate["levels"] for clause in level["advice"]]
    known = [entry["clause"] for entry in certificate["known_failures"] if entry["used"]]
    if advice or known:
        yield ""
    if advice:
        yield _safe(f"Advice, {len(advice)} SHOULD broken: {', '.join(advice)}")
    if known:
        yield _safe(f"Known failures, seen as expected: {', '.join(dict.fromkeys(known))}")


def _safe(text: str) -> str:
    """Return one line of text that stays text in Markdown and in HTML, and mentions nobody."""
    line = _SPECIAL.sub(r"\\\1", one_line(" ".join(plain(text).split()), _CELL))
    return line.replace("\\@", "&#64;").replace("\\<", "&lt;")
