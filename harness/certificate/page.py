"""index.html: the whole certificate as one page that needs nothing else. A pure function with a template.

Every text of a backend is escaped by the template engine, and freed of what steers terminals and the direction of
text; the policy of the page allows its own script and style by their digest and nothing else.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from dcp_conformance.harness.certificate.bases import own_demands, title_of
from dcp_conformance.harness.certificate.causes import Cause, Sighting, causes_of
from dcp_conformance.harness.certificate.pictures import Picture, pictures
from dcp_conformance.harness.certificate.prose import plain
from dcp_conformance.harness.contract import LEVELS
from dcp_conformance.harness.verdicts.levels import LevelResult

MARKER = "<!-- dcp-conformance report -->"
TEMPLATES = Path(__file__).with_name("templates")
# The certificate has all of it; a page of many findings must stay light.
_MOST_EVIDENCE = 2_500
# Beyond so many findings nobody reads evidence on a page; a little of it still tells them apart.
_IN_FULL, _LITTLE_EVIDENCE = 40, 700
_MOST_TEXT = 1_500
# Further cases of one cause that are shown with what was observed; the rest by name.
_MOST_ALIKE = 25
_MOST_ALIKE_TEXT = 300
_MOST_WORDS = 1_000


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One piece of evidence."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One failing case as the page shows it."""

    clause: str
    case: str
    verdict: str
    observed: str
    rank: int | None
    blame: str
    reproduce: str
    evidence: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One cause: its worst case in full, the others in short, and what the filters of the page look at."""

    number: int
    anchor: str
    harm: str
    title: str
    advice: bool
    promises: tuple[Piece, ...]
    worst: Shown
    others: tuple[Shown, ...]
    unshown: int
    levels: str
    verdicts: str
    words: str


@dataclass(frozen=True, kw_only=True)
class ClauseRow:
    """One clause in the table of all clauses."""

    id: str
    level: str
    strength: str
    standing: str
    promise: str
    cases: int
    seconds: float
    why: str


def page(certificate: Mapping[str, Any]) -> str:
    """Return the page of a certificate, as text. The same certificate always gives the same page."""
    style, script = hashed("page.css"), hashed("page.js")
    return (
        environment()
        .get_template("page.html")
        .render(
            marker=markupsafe.Markup(MARKER),
            style=style,
            script=script,
            style_hash=source_hash(style),
            script_hash=source_hash(script),
            certificate=certificate,
            backend=certificate["backend"],
            run=certificate["run"],
            took=_took(certificate["run"]),
            facts=list(_facts(certificate)),
            levels=[LevelResult.from_data(level) for level in certificate["levels"]],
            broken=_findings(causes_of(certificate), advice=False, first=1),
            advice=_findings(causes_of(certificate, ("advice",)), advice=True, first=1),
            own=own_demands(certificate),
            known=[entry for entry in certificate["known_failures"] if entry["used"]],
            clauses=list(_rows(certificate)),
            pictures=_shown_pictures(certificate),
            level_names=LEVELS,
        )
    )


def environment() -> jinja2.Environment:
    """Return the template engine of all our pages: it escapes, is strict about names, and makes texts plain."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )


def hashed(name: str) -> markupsafe.Markup:
    """Return a style or script of ours, to be put into a page whose policy names its `source_hash`."""
    return markupsafe.Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def source_hash(content: str) -> str:
    """Return what a content security policy calls this content."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")


def _findings(causes: tuple[Cause, ...], *, advice: bool, first: int) -> list[Finding]:
    return [_finding(cause, number, advice=advice) for number, cause in enumerate(causes, start=first)]


def _finding(cause: Cause, number: int, *, advice: bool) -> Finding:
    entries = {sighting.entry["id"]: sighting.entry for sighting in cause.sightings}
    evidence = _MOST_EVIDENCE if number <= _IN_FULL else _LITTLE_EVIDENCE
    worst, *others = (_case(sighting, evidence) for sighting in cause.sightings)
    others = [dataclasses.replace(case, observed=_short(case.observed, _MOST_ALIKE_TEXT)) for case in others]
    return Finding(
        number=number,
        anchor=f"{'advice' if advice else 'finding'}-{number}",
        harm=cause.harm.words,
        title=", ".join(cause.clauses),
        advice=advice,
        promises=tuple(Piece(name=title_of(entry), text=entry["promise"]) for entry in entries.values()),
        worst=worst,
        others=tuple(others[:_MOST_ALIKE]),
        unshown=len(others[_MOST_ALIKE:]),
        levels=" ".join(dict.fromkeys(entry["level"] for entry in entries.values())),
        verdicts=" ".join(
            dict.fromkeys(["advice" if advice else "broken", *(one.verdict for one in (worst, *others))])
        ),
        words=_search_words(cause),
    )


def _search_words(cause: Cause) -> str:
    worst = cause.worst
    return " ".join([cause.harm.words, *cause.clauses, *cause.cases, worst.entry["promise"], worst.observed]).lower()[
        :4000
    ]


def _case(sighting: Sighting, most_evidence: int) -> Shown:
    outcome = sighting.outcome
    finding = outcome.finding
    pieces = dict(finding.evidence) if finding else {}
    pieces |= {f"note {number}": note for number, note in enumerate(outcome.notes, start=1)}
    return Shown(
        clause=outcome.clause,
        case=outcome.case,
        verdict=outcome.verdict.word,
        observed=_short(sighting.observed or "no more is known", _MOST_TEXT),
        rank=finding.rank if finding else None,
        blame=outcome.reason if finding else "",
        reproduce=finding.reproduce if finding else "",
        evidence=tuple(Piece(name=name, text=_short(text, most_evidence)) for name, text in pieces.items()),
    )


def _short(text: str, most: int) -> str:
    """Keep the start and the end of a long text."""
    if len(text) <= most:
        return text
    cut = len(text) - most
    return f"{text[: most // 3]}\n[... {cut} characters more in the certificate ...]\n{text[-(most - most // 3) :]}"


def _rows(certificate: Mapping[str, Any]) -> Iterator[ClauseRow]:
    """Yield every clause that the certificate knows of, in the order of levels and ids."""
    rows = [
        ClauseRow(
            id=entry["id"],
            level=entry["level"],
            strength=entry["strength"],
            standing=entry["standing"] if column == "clauses" else f"engine {entry['standing']}",
            promise=entry["promise"],
            cases=len(entry["cases"]),
            seconds=sum(case["seconds"] for case in entry["cases"]),
            why=_why(entry),
        )
        for column in ("clauses", "engine_column")
        for entry in certificate[column]
    ]
    for name, standing in (("not_applicable", "not-applicable"), ("excluded", "not checked")):
        for entry in certificate[name]:
            rows.append(
                ClauseRow(
                    id=entry["id"], level=entry["level"], strength=entry.get("strength", ""), standing=standing,
                    promise="", cases=0, seconds=0.0, why=entry["reason"],
                )
            )  # fmt: skip
    yield from sorted(rows, key=lambda row: (LEVELS.index(row.level), row.id))


def _why(entry: Mapping[str, Any]) -> str:
    """Say why a clause has no verdict of its own; the findings say it for those that are broken."""
    if entry["standing"] in ("pass", "fail", "hang"):
        return ""
    if not entry["cases"]:
        return "no case of it ran"
    reasons = [case["reason"] for case in entry["cases"] if case["verdict"] != "pass" and case["reason"]]
    return _short("; ".join(dict.fromkeys(reasons)), 400)


def _facts(certificate: Mapping[str, Any]) -> Iterator[Piece]:
    backend, environment, run = certificate["backend"], certificate["environment"], certificate["run"]
    topology, machine = environment["topology"], environment["machine"]
    ranks = ", ".join(map(str, topology["world_sizes"]))
    yield Piece(name="Backend", text=f"{backend['name']} {backend['version']}")
    yield Piece(name="Code", text=f"commit {backend['commit'] or 'unknown'}; {backend['digest'] or 'no digest'}")
    yield Piece(name="Engine", text=certificate["engine"])
    yield Piece(name="Suite", text=f"{certificate['suite']['version']}, {certificate['suite']['clauses']} clauses")
    yield Piece(name="Ran", text=f"{run['started']}, {_took(run)}")
    yield Piece(name="Ranks", text=f"{ranks} on {topology['device']} ({topology['group_backend']})")
    yield Piece(name="Machine", text=f"{machine['platform']}, {machine['cpus']} CPUs, Python {environment['python']}")
    yield Piece(name="Scratch", text=environment["scratch_file_system"])
    yield Piece(name="Command", text=run["command"])
    for name, reason in backend["unsupported"].items():
        yield Piece(name=f"Opted out: {name}", text=reason)
    if backend["inherits"]:
        yield Piece(name="Inherited from torch", text=", ".join(backend["inherits"]))


def _took(run: Mapping[str, Any]) -> str:
    began, ended = (datetime.datetime.fromisoformat(run[name].replace("Z", "+00:00")) for name in ("started", "ended"))
    return f"{max(0, int((ended - began).total_seconds()))} s"


def _shown_pictures(certificate: Mapping[str, Any]) -> list[Picture]:
    return [picture for picture in pictures(certificate) if picture.rows]


def _clean(value: object) -> object:
    """Return what the template prints: texts without control characters; markup of ours as it is."""
    return plain(value) if type(value) is str else value
