"""What stands behind the summary of a run, for who wants to read on: every break in full, advice, tables, asides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dcp_conformance.harness.certificate.bases import own_demands, title_of
from dcp_conformance.harness.certificate.prose import broken_lines, count, one_line, paragraph, plain
from dcp_conformance.harness.certificate.tables import table_lines
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict

_LISTED = 10
_ROWS = 32


def detail_lines(certificate: Mapping[str, Any], width: int) -> list[str]:
    """Each broken promise in four parts, then everything else that the certificate holds, in short."""
    sections = [
        *_broken(certificate, width),
        _harness_errors(certificate, width),
        _run_errors(certificate, width),
        _advice(certificate, width),
        _undecided(certificate, width),
        _engine(certificate, width),
        _known(certificate, width),
        *_tables(certificate, width),
        _aside(certificate, width),
    ]
    lines: list[str] = []
    for section in sections:
        lines += ["", *section] if section and lines else section
    return lines


def _broken(certificate: Mapping[str, Any], width: int) -> Iterator[list[str]]:
    entries = _in_group(certificate, "broken")
    if entries:
        yield [f"{count(len(entries), 'broken promise')}:"]
    for entry in entries:
        failing = [case for case in _cases(entry) if case.broken]
        # A hang is the worst that was seen: show that one first.
        first = max(failing, key=lambda case: case.verdict)
        yield broken_lines(
            title=title_of(entry),
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
    own = [f"{found.level} {found.kept} of {found.owned}" for found in own_demands(certificate).values()]
    if own:
        lines += paragraph(f"MUSTs that are this contract's own demand, kept: {', '.join(own)}.", width, rest="  ")
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


def _cases(entry: Mapping[str, Any]) -> list[CaseOutcome]:
    return [CaseOutcome.from_data(case) for case in entry["cases"]]


def _in_group(certificate: Mapping[str, Any], *groups: str) -> list[Mapping[str, Any]]:
    """Return the owned clauses that the levels name in these groups. The levels decide, this only looks them up."""
    ids = {clause for level in certificate["levels"] for group in groups for clause in level[group]}
    return [entry for entry in certificate["clauses"] if entry["id"] in ids]
