"""What a person reads in a terminal after a run, as lines without colours: one screen, the worst first, and no more.

A cause is shown once, with all that it breaks; the lines that reproduce come last, where the eye is when the run ends.
What does not fit stands in the report beside the certificate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dcp_conformance.harness.certificate.bases import title_of
from dcp_conformance.harness.certificate.causes import Cause, causes_of
from dcp_conformance.harness.certificate.prose import (
    broken_lines,
    command_lines,
    count,
    labelled,
    one_line,
    paragraph,
    plain,
)
from dcp_conformance.harness.certificate.seal import clause_data
from dcp_conformance.harness.verdicts.levels import LevelResult
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict

if TYPE_CHECKING:
    from dcp_conformance.harness.contract import Clause

WIDTH = 80
# Of a terminal whose size nobody knows (a log of continuous integration) a window of this many lines is assumed.
HEIGHT = 40
# However small the window is: the worst cause is shown whole.
_LEAST_CAUSES = 1
_LISTED = 4


def summary_lines(
    certificate: Mapping[str, Any], width: int = WIDTH, *, height: int = HEIGHT, path: str = ""
) -> list[str]:
    """Return the summary of a run: its levels, the causes of what is broken, the lines that show them again.

    `certificate` is valid data, `height` the lines of a screen, `path` where the report lies, for the last line.
    """
    head = [
        [*_heading(certificate, width), "", *_levels(certificate, width)],
        _errors(certificate, width),
        _undecided(certificate, width),
        _beside(certificate, width),
    ]
    foot = paragraph(f"Everything: {path}", width, rest="  ") if path else []
    causes = causes_of(certificate)
    taken = sum(len(section) + 1 for section in head if section) + len(foot)
    sections = [*head, *_causes(causes, width, room=height - taken), foot]
    lines: list[str] = []
    for section in sections:
        lines += ["", *section] if section and lines else section
    return lines


def failure_lines(clause: Clause, outcome: CaseOutcome, width: int = WIDTH) -> list[str]:
    """Return one failing case of one clause, for pytest's failure report.

    A harness-error says that no promise was judged.
    """
    if outcome.verdict is Verdict.HARNESS_ERROR:
        return [
            *paragraph(f"{clause.id}, case {outcome.case}: the harness failed, the promise was not judged", width),
            *labelled("reason", outcome.reason or "no more is known", width),
        ]
    title = title_of(clause_data(clause))
    return broken_lines(title=title, promise=clause.promise, outcome=outcome, width=width)


def _heading(certificate: Mapping[str, Any], width: int) -> list[str]:
    backend, run = certificate["backend"], certificate["run"]
    tested = f"{backend['name']} {backend['version']} with {certificate['engine']}"
    lines = paragraph(f"dcp-conformance {certificate['suite']['version']}: {tested}", width, rest="  ")
    if run["partial"]:
        lines += paragraph("Partial run, no level is held: " + "; ".join(run["partial"]) + ".", width, rest="  ")
    return lines


def _levels(certificate: Mapping[str, Any], width: int) -> list[str]:
    lines: list[str] = []
    everything = [LevelResult.from_data(level) for level in certificate["levels"]]
    judged = [level for level in everything if level.level in certificate["run"]["levels"]]
    # Of a run of one clause, the levels that it did not touch say nothing.
    shown = [level for level in judged if level.executed] or judged if certificate["run"]["partial"] else judged
    for level in shown:
        label = "LOST" if level.label == "lost" else level.label
        detail = level.reason if level.state == "not run" else ", ".join(_counts(level, certificate))
        lines += paragraph(detail, width, first=f"  {level.level:<14}{label:<13}", rest=" " * 29)
    others = [level.level for level in everything if level not in judged]
    if others:
        lines += paragraph(f"Not part of this run: {', '.join(others)}.", width, first="  ", rest="    ")
    return lines


def _counts(level: LevelResult, certificate: Mapping[str, Any]) -> Iterator[str]:
    # A narrowed run was not meant to exercise the rest.
    narrowed = bool(certificate["run"]["partial"])
    yield f"{level.kept} of {level.owned - len(level.not_exercised) * narrowed} kept"
    numbers = (
        (len(level.broken), "broken"),
        (len(level.known), "known to be broken"),
        (level.should_broken, "SHOULD broken"),
        (len(level.engine), "the engine's"),
        (len(level.untestable), "untestable"),
        (len(level.not_exercised) * (not narrowed), "not exercised"),
        (len(level.harness_errors), "stopped by a harness-error"),
    )
    yield from (f"{number} {what}" for number, what in numbers if number)


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A cause as it stands on the screen: what it is, and the lines that reproduce it."""

    block: Sequence[str]
    command: Sequence[str]

    @property
    def height(self) -> int:
        return len(self.block) + len(self.command)


def _causes(causes: Sequence[Cause], width: int, *, room: int) -> Iterator[list[str]]:
    """As many causes in full as there is room for, the others as one line each or as a list of clauses."""
    if not causes:
        return
    broken = {clause for cause in causes for clause in cause.clauses}
    title = f"{count(len(broken), 'broken promise')}, {count(len(causes), 'cause')}, worst harm first:"
    shown = [_shown(number, cause, width) for number, cause in enumerate(causes, start=1)]
    # Two titles, two blank lines, and one line for the causes that are left out.
    left, whole = room - 5, 0
    for cause in shown:
        left -= cause.height
        if left < 0 and whole >= _LEAST_CAUSES:
            break
        whole += 1
    yield [title, *(line for cause in shown[:whole] for line in cause.block), *_rest(causes[whole:], width)]
    commands = [line for cause in shown[:whole] for line in cause.command]
    if commands:
        yield ["Seen again by:", *commands]


def _shown(number: int, cause: Cause, width: int) -> _Shown:
    worst, finding = cause.worst, cause.worst.outcome.finding
    more = f" and {', '.join(cause.clauses[1 : _LISTED + 1])}" if len(cause.clauses) > 1 else ""
    more += f" and {len(cause.clauses) - _LISTED - 1} more" if len(cause.clauses) > _LISTED + 1 else ""
    title = f"{cause.harm.words}: {worst.entry['id']} ({worst.entry['strength']}, {worst.entry['level']}){more}"
    rank = f"rank {finding.rank}: " if finding and finding.rank is not None else ""
    cases = f" [{count(len(cause.cases), 'case')}]" if len(cause.cases) > 1 else ""
    block = [
        *paragraph(f"{title}{cases}", width, first=f"{number:>3}. ", rest="     "),
        *_brief("promised", worst.entry["promise"], width, most=2),
        *_brief("observed", f"{rank}{worst.observed or 'no more is known'}", width, most=3),
    ]
    command = finding.reproduce if finding else ""
    return _Shown(block=block, command=command_lines(command, width, first=f"{number:>3}. ") if command else [])


def _brief(label: str, text: str, width: int, *, most: int) -> list[str]:
    """Return a labelled paragraph, cut to `most` lines."""
    lines = paragraph(" ".join(plain(text).split()), width, first=f"     {label:<10}", rest=" " * 15)
    return _first(lines, width, most=most)


def _first(lines: Sequence[str], width: int, *, most: int) -> list[str]:
    """Return the first `most` lines, none longer than the screen; the last says that there are more."""
    kept = [*lines[: most - 1], lines[most - 1] + " " * width] if len(lines) > most else lines
    # A line beyond the width is one long word, a path for instance, of which the end says most.
    return [line if len(line.split()) == 1 else one_line(line, width, strip=False) for line in kept]


def _rest(causes: Sequence[Cause], width: int) -> list[str]:
    if not causes:
        return []
    more = count(len(causes), "more cause")
    return _ids(f"     and {more}", [clause for cause in causes for clause in cause.clauses], width)


def _errors(certificate: Mapping[str, Any], width: int) -> list[str]:
    """Errors of the run and of the harness: nothing can be concluded from what they touched."""
    errors = certificate["run"]["errors"]
    stopped = {clause for level in certificate["levels"] for clause in level["harness_errors"]}
    found: dict[tuple[str, str], list[str]] = {}
    for entry in certificate["clauses"]:
        for case in map(CaseOutcome.from_data, entry["cases"] if entry["id"] in stopped else ()):
            if case.verdict is Verdict.HARNESS_ERROR:
                # The first line is the sentence; a traceback below it is for the page.
                reason = (case.reason or "no more is known").splitlines()[0]
                found.setdefault((entry["id"], reason), []).append(case.case)
    lines = [f"{clause}, {_cases(cases)}: {reason}" for (clause, reason), cases in found.items()]
    number = sum(map(len, found.values()))
    return [
        *_listing(f"{count(len(errors), 'error')} of the run:", errors, width),
        *_listing(f"{count(number, 'harness-error')}, no promise judged:", lines, width),
    ]


def _cases(names: Sequence[str]) -> str:
    return f"case {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _undecided(certificate: Mapping[str, Any], width: int) -> list[str]:
    missing = [] if certificate["run"]["partial"] else certificate["not_exercised"]
    untestable = [clause for level in certificate["levels"] for clause in level["untestable"]]
    return [
        *_ids(f"{len(untestable)} untestable", untestable, width),
        *_why_untestable(certificate, untestable, width),
        *_ids(f"{len(missing)} not exercised", missing, width),
    ]


def _why_untestable(certificate: Mapping[str, Any], clauses: Sequence[str], width: int) -> list[str]:
    """Return the reasons that keep levels undecided, each once with its clauses; at most three."""
    reasons: dict[str, list[str]] = {}
    for entry in certificate["clauses"]:
        said = [case["reason"] for case in entry["cases"] if case["verdict"] == "untestable" and case["reason"]]
        if entry["id"] in clauses and said:
            reasons.setdefault(said[0], []).append(entry["id"])
    lines = [f"{', '.join(ids[:3])}: {reason}" for reason, ids in list(reasons.items())[:3]]
    return [line for text in lines for line in paragraph(text, width, first="  ", rest="    ")]


def _beside(certificate: Mapping[str, Any], width: int) -> list[str]:
    """Return what costs no level, a line each: advice, known failures, the engine, what was left behind."""
    advice = [clause for level in certificate["levels"] for clause in level["advice"]]
    effect = "with --strict they fail the run" if certificate["run"]["strict"] else "costs no level"
    known = [entry["clause"] for entry in certificate["known_failures"] if entry["used"]]
    engine = [clause for level in certificate["levels"] for clause in level["engine"]]
    judged = [entry for entry in certificate["engine_column"] if entry["verdict"] in ("pass", "fail", "hang")]
    broken = [entry["id"] for entry in judged if entry["verdict"] != "pass"]
    return [
        *_ids(f"Advice ({effect}), {len(advice)} SHOULD broken", advice, width),
        *_ids(f"{count(len(known), 'known failure')} seen as expected", known, width),
        *_ids("The engine's, not the backend's", engine, width),
        *_ids(f"The engine under it ({certificate['engine']}) breaks {len(broken)} of {len(judged)}", broken, width),
        *_listing(f"Left behind ({len(certificate['leftovers'])}):", certificate["leftovers"], width),
    ]


def _ids(title: str, ids: Sequence[str], width: int) -> list[str]:
    """Return a title and ids on one line; how many did not fit is said."""
    listed = list(dict.fromkeys(ids))
    line = f"{title}: {', '.join(listed)}"
    for kept in range(len(listed) - 1, 0, -1):
        if len(line) <= width:
            break
        line = f"{title}: {', '.join(listed[:kept])} and {len(listed) - kept} more"
    return [one_line(line, width, strip=False)] if listed else []


def _listing(title: str, items: Iterable[str], width: int) -> list[str]:
    everything = list(items)
    if not everything:
        return []
    lines = [title]
    for item in everything[:_LISTED]:
        lines += _first(paragraph(" ".join(item.split()), width, first="  ", rest="    "), width, most=3)
    more = len(everything) - _LISTED
    return lines + ([f"  and {more} more"] if more > 0 else [])
