"""What a person reads in a terminal, as lines without colours: the summary, one failure, one explained clause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcp_conformance.harness.certificate.prose import broken_lines, count, labelled, one_line, paragraph, plain
from dcp_conformance.harness.certificate.tables import table_lines
from dcp_conformance.harness.verdicts.levels import LevelResult
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict

if TYPE_CHECKING:
    from dcp_conformance.harness.contract import Clause

_WIDTH = 100
_LISTED = 10
_ROWS = 32
_LETTERS = {
    "S": "who supplies a storage writer and reader",
    "E": "who exports save and load",
    "P": "who supplies the default planners",
    "F": "who writes torch's on-disk format",
    "U": "who exports the utility",
}


def summary_lines(certificate: Mapping[str, Any], width: int = _WIDTH, *, path: str = "") -> list[str]:
    """The summary of a run: its levels, each broken promise in four parts, then everything else in short.

    `certificate` is valid data; `path` is where it was written, for the last line.
    """
    sections = [
        _heading(certificate, width),
        _levels(certificate, width),
        *_broken(certificate, width),
        _harness_errors(certificate, width),
        _run_errors(certificate, width),
        _advice(certificate, width),
        _undecided(certificate, width),
        _engine(certificate, width),
        _known(certificate, width),
        *_tables(certificate, width),
        _aside(certificate, width),
        [f"Certificate: {plain(path)}"] if path else [],
    ]
    lines: list[str] = []
    for section in sections:
        lines += ["", *section] if section and lines else section
    return lines


def failure_lines(clause: Clause, outcome: CaseOutcome, width: int = _WIDTH) -> list[str]:
    """One failing case of one clause, for pytest's failure report. A harness-error says that no promise was judged."""
    if outcome.verdict is Verdict.HARNESS_ERROR:
        return [
            *paragraph(f"{clause.id}, case {outcome.case}: the harness failed, the promise was not judged", width),
            *labelled("reason", outcome.reason or "no more is known", width),
        ]
    title = f"{clause.id} ({clause.strength.name}, {clause.level})"
    return broken_lines(title=title, promise=clause.promise, outcome=outcome, width=width)


def explain_lines(
    clause: Clause,
    tests: Sequence[str],
    mutants: Sequence[str],
    last: Mapping[str, Any] | None,
    width: int = _WIDTH,
) -> list[str]:
    """One clause for `--explain`: its promise, whom it binds, its tests and mutants, and its standing in `last`.

    `last` is the latest certificate, or None where there is none.
    """
    binds = [f"{letter}: {_LETTERS[letter]}" for letter in _LETTERS if letter in clause.applies]
    needs = [
        f"a world of {clause.world} or more" if clause.world > 1 else "one rank",
        *(["a GPU"] if clause.gpu else []),
        *(f"the capability {capability}" for capability in clause.capabilities),
        *(["the offer drop_in"] if clause.drop_in else []),
    ]
    excluded = labelled("unchecked", clause.excluded, width) if clause.excluded else []
    return [
        f"{clause.id} ({clause.strength.name}, {clause.level})",
        *labelled("promise", clause.promise, width),
        *labelled("binds", "; ".join(binds), width),
        *labelled("needs", ", ".join(needs), width),
        *labelled("source", clause.source, width),
        *excluded,
        *labelled("tests", "; ".join(tests) or "none", width),
        *labelled("mutants", "; ".join(mutants) or "none", width),
        *labelled("last", _last(clause.id, last), width),
    ]


def _last(clause: str, certificate: Mapping[str, Any] | None) -> str:
    if certificate is None:
        return "no certificate yet"
    when = f"{certificate['backend']['name']}, {certificate['run']['ended']}"
    for name, column in (("clauses", ""), ("engine_column", " (the engine's column)")):
        for entry in certificate[name]:
            if entry["id"] == clause:
                return f"{entry['standing']}{column} in {count(len(entry['cases']), 'case')} ({when})"
    for name, standing in (("not_applicable", "not-applicable"), ("excluded", "excluded")):
        for entry in certificate[name]:
            if entry["id"] == clause:
                return f"{standing}: {entry['reason']} ({when})"
    return f"its level was not run ({when})"


def _heading(certificate: Mapping[str, Any], width: int) -> list[str]:
    backend, run = certificate["backend"], certificate["run"]
    tested = f"{backend['name']} {backend['version']} with {certificate['engine']}"
    lines = paragraph(f"dcp-conformance {certificate['suite']['version']}: {tested}", width, rest="  ")
    if run["partial"]:
        lines += paragraph("Partial run, no level is held: " + "; ".join(run["partial"]) + ".", width, rest="  ")
    return lines


def _levels(certificate: Mapping[str, Any], width: int) -> list[str]:
    lines: list[str] = []
    for level in map(LevelResult.from_data, certificate["levels"]):
        if level.level in certificate["run"]["levels"]:
            label = "LOST" if level.label == "lost" else level.label
            detail = level.reason if level.state == "not run" else "; ".join(_counts(level))
            lines += paragraph(detail, width, first=f"  {level.level:<14}{label:<14}", rest=" " * 30)
    others = [level["level"] for level in certificate["levels"] if level["level"] not in certificate["run"]["levels"]]
    return lines + (
        paragraph(f"Not part of this run: {', '.join(others)}.", width, first="  ", rest="    ") if others else []
    )


def _counts(level: LevelResult) -> Iterator[str]:
    yield f"{level.kept} of {level.owned} kept"
    numbers = (
        (len(level.broken), "broken"),
        (len(level.known), "known to be broken"),
        (level.should_broken, "SHOULD broken"),
        (len(level.engine), "blamed on the engine"),
        (len(level.untestable), "untestable"),
        (len(level.not_exercised), "not exercised"),
        (len(level.harness_errors), "stopped by a harness-error"),
    )
    yield from (f"{number} {what}" for number, what in numbers if number)
    if level.state == "not decided":
        yield level.reason


def _cases(entry: Mapping[str, Any]) -> list[CaseOutcome]:
    return [CaseOutcome.from_data(case) for case in entry["cases"]]


def _in_group(certificate: Mapping[str, Any], *groups: str) -> list[Mapping[str, Any]]:
    """The owned clauses that the levels name in these groups. The levels decide, this only looks them up."""
    ids = {clause for level in certificate["levels"] for group in groups for clause in level[group]}
    return [entry for entry in certificate["clauses"] if entry["id"] in ids]


def _broken(certificate: Mapping[str, Any], width: int) -> Iterator[list[str]]:
    entries = _in_group(certificate, "broken")
    if entries:
        yield [f"{count(len(entries), 'broken promise')}:"]
    for entry in entries:
        failing = [case for case in _cases(entry) if case.broken]
        # A hang is the worst that was seen: show that one first.
        first = max(failing, key=lambda case: case.verdict)
        yield broken_lines(
            title=f"{entry['id']} ({entry['strength']}, {entry['level']})",
            promise=entry["promise"],
            outcome=first,
            width=width,
            others=[case.case for case in failing if case is not first],
        )


def _harness_errors(certificate: Mapping[str, Any], width: int) -> list[str]:
    found = [
        (entry["id"], case)
        for entry in _in_group(certificate, "harness_errors")
        for case in _cases(entry)
        if case.verdict is Verdict.HARNESS_ERROR
    ]
    items = [f"{clause}, case {case.case}: {case.reason or 'no more is known'}" for clause, case in found]
    return _listing(f"{count(len(items), 'harness-error')}, no promise judged:", items, width)


def _run_errors(certificate: Mapping[str, Any], width: int) -> list[str]:
    errors = certificate["run"]["errors"]
    return _listing(f"{count(len(errors), 'error')} of the run:", errors, width, most=len(errors))


def _advice(certificate: Mapping[str, Any], width: int) -> list[str]:
    entries = _in_group(certificate, "advice")
    effect = "with --strict they fail the run" if certificate["run"]["strict"] else "no level is lost by it"
    lines = [_in_short(entry, next(case for case in _cases(entry) if case.broken), width) for entry in entries]
    return [f"Advice, {len(entries)} SHOULD broken ({effect}):", *lines] if entries else []


def _undecided(certificate: Mapping[str, Any], width: int) -> list[str]:
    entries = _in_group(certificate, "untestable")
    lines: list[str] = []
    if entries:
        lines.append(f"{len(entries)} untestable:")
    for entry in entries[:_LISTED]:
        case = next(case for case in _cases(entry) if case.verdict is Verdict.UNTESTABLE)
        lines.append(_in_short(entry, case, width))
    if len(entries) > _LISTED:
        lines.append(f"  and {len(entries) - _LISTED} more, see the certificate")
    missing = certificate["not_exercised"]
    # A narrowed run was not meant to exercise the rest: its heading says why, and a list of hundreds helps nobody.
    if missing and not certificate["run"]["partial"]:
        lines += paragraph(f"{len(missing)} not exercised: {', '.join(missing)}", width, rest="  ")
    return lines


def _in_short(entry: Mapping[str, Any], case: CaseOutcome, width: int) -> str:
    said = case.finding.observed if case.finding else case.reason
    return f"  {entry['id']:<10} " + one_line(said or case.case, width - 13)


def _engine(certificate: Mapping[str, Any], width: int) -> list[str]:
    name, column = certificate["engine"], certificate["engine_column"]
    judged = [entry for entry in column if entry["verdict"] in ("pass", "fail", "hang")]
    broken = [entry["id"] for entry in judged if entry["verdict"] != "pass"]
    shown = [entry["id"] for entry in _in_group(certificate, "engine")]
    lines: list[str] = []
    if judged:
        lines += paragraph(
            f"The engine under it ({name}) keeps {len(judged) - len(broken)} of the {len(judged)} clauses "
            f"that were judged{'; broken: ' + ', '.join(broken) if broken else ''}.",
            width,
            rest="  ",
        )
    if shown:
        lines += paragraph(f"Shown to be the engine's, not the backend's: {', '.join(shown)}.", width, rest="  ")
    return lines


def _known(certificate: Mapping[str, Any], width: int) -> list[str]:
    used = [entry for entry in certificate["known_failures"] if entry["used"]]
    items = [
        f"{entry['clause']}{', case ' + entry['case'] if entry['case'] else ''}: {entry['reason']}"
        f"{' (' + entry['defect'] + ')' if entry['defect'] else ''}"
        for entry in used
    ]
    return _listing(f"{count(len(items), 'known failure')} seen as expected:", items, width, most=len(items))


def _tables(certificate: Mapping[str, Any], width: int) -> Iterator[list[str]]:
    for table in certificate["tables"]:
        lines = table_lines(table["title"], table["columns"], table["rows"], most=_ROWS)
        # Its blanks are its alignment: a line is cut, never wrapped.
        yield [_cut(plain(line), width) for line in lines]


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 4].rstrip() + " ..."


def _aside(certificate: Mapping[str, Any], width: int) -> list[str]:
    backend = certificate["backend"]
    sizes = ", ".join(f"{len(entry['values'])} {entry['name']}" for entry in certificate["checklist"])
    lines = paragraph(f"The checks enumerate {sizes}; the certificate lists them.", width, rest="  ")
    if backend["inherits"]:
        lines += paragraph(f"Inherited from torch: {', '.join(backend['inherits'])}.", width, rest="  ")
    if backend["unsupported"]:
        lines += paragraph(f"Opted out of: {', '.join(backend['unsupported'])}.", width, rest="  ")
    if backend["patience"] != 1.0:
        lines.append(f"Patience asked for: limits for hangs times {backend['patience']:g}.")
    left = certificate["leftovers"]
    return lines + _listing(f"Left behind ({len(left)}):", left, width)


def _listing(title: str, items: Iterable[str], width: int, *, most: int = _LISTED) -> list[str]:
    everything = list(items)
    if not everything:
        return []
    lines = [title]
    for item in everything[:most]:
        lines += paragraph(item, width, first="  ", rest="    ")
    more = len(everything) - most
    return lines + ([f"  and {more} more, see the certificate"] if more > 0 else [])
