"""Broken promises put together by cause, worst harm first: what a person reads in place of one entry for each case.

One fault of a backend breaks many clauses in many cases. Cases belong to one cause where they were told the same thing,
numbers and names aside, or where they are cases of one test that broke one clause in one way. This can only be a guess
about where the fault lies, so nothing is left out: every case of a cause stands in it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dcp_conformance.harness.contract import LEVELS
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict


class Harm(enum.IntEnum):
    """What a break costs a user of the backend, the worst first."""

    WRONG_VALUES = 0
    FOREIGN_CODE = 1
    LOST_CHECKPOINT = 2
    HANG = 3
    UNTOLD_FAILURE = 4
    DEATH = 5
    ERROR = 6
    OTHER = 7

    @property
    def words(self) -> str:
        """The harm as reports write it."""
        return self.name.lower().replace("_", " ")


# The kinds of findings (a test's own word) that say what was lost; any other is told by its verdict or is OTHER.
_KINDS: Mapping[str, Harm] = {
    **dict.fromkeys(
        ("values", "mixture", "mixed", "silent corruption", "crash SILENT", "arbitrary", "made up", "torn", "zero"),
        Harm.WRONG_VALUES,
    ),
    "code ran": Harm.FOREIGN_CODE,
    **dict.fromkeys(
        (
            "lost",
            "loss",
            "silent loss",
            "crash ERROR",
            "not durable",
            "not synced",
            "name not synced",
            "partial commit",
        ),
        Harm.LOST_CHECKPOINT,
    ),
    **dict.fromkeys(("not durable", "not synced", "name not synced"), Harm.LOST_CHECKPOINT),
    **dict.fromkeys(
        ("not refused", "not raised", "not reported", "not noticed", "not told", "no failure", "silent"),
        Harm.UNTOLD_FAILURE,
    ),
    "death": Harm.DEATH,
}
_ERROR = re.compile(r"([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning)(?: without a text|: [^}]*))")
_ASIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|[\w.~-]*/[\w./~-]*")
_NUMBER = re.compile(r"\b0x[0-9a-f]+\b|\b[0-9][\w.+-]*")


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One case that broke one clause; `entry` is the clause as the certificate lists it."""

    entry: Mapping[str, Any]
    outcome: CaseOutcome

    @property
    def observed(self) -> str:
        """What was seen, or the reason where no finding was kept."""
        return self.outcome.finding.observed if self.outcome.finding else self.outcome.reason

    @property
    def kind(self) -> str:
        """The test's own word for what was seen."""
        return self.outcome.finding.kind if self.outcome.finding else ""

    @property
    def harm(self) -> Harm:
        """What it costs a user."""
        if self.outcome.verdict is Verdict.HANG:
            return Harm.HANG
        if self.kind.startswith("raised "):
            return Harm.ERROR
        return _KINDS.get(self.kind, Harm.OTHER)

    @property
    def costs_the_level(self) -> bool:
        """Whether it is more than advice: a MUST, or a hang."""
        return self.entry["strength"] == "MUST" or self.outcome.verdict is Verdict.HANG

    @property
    def order(self) -> tuple[bool, Harm, int, str, str]:
        """Worst first; the same for the same certificate."""
        level = LEVELS.index(self.entry["level"])
        return not self.costs_the_level, self.harm, level, self.entry["id"], self.outcome.case


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Sightings that are probably one fault, the one to look at first in front."""

    sightings: tuple[Sighting, ...]

    @property
    def worst(self) -> Sighting:
        """The sighting that stands for the cause."""
        return self.sightings[0]

    @property
    def harm(self) -> Harm:
        """The worst harm that was seen."""
        return self.worst.harm

    @property
    def clauses(self) -> tuple[str, ...]:
        """Ids of the clauses that it breaks, that of the worst sighting first."""
        return tuple(dict.fromkeys(sighting.entry["id"] for sighting in self.sightings))

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the cases in which it was seen, that of the worst sighting first."""
        return tuple(dict.fromkeys(sighting.outcome.case for sighting in self.sightings))


def causes_of(certificate: Mapping[str, Any], groups: Collection[str] = ("broken",)) -> tuple[Cause, ...]:
    """Return the causes behind the owned clauses that the levels name in `groups` (`broken`, ...), worst first."""
    wanted = {clause for level in certificate["levels"] for group in groups for clause in level[group]}
    sightings = [
        Sighting(entry=entry, outcome=outcome)
        for entry in certificate["clauses"]
        if entry["id"] in wanted
        for outcome in map(CaseOutcome.from_data, entry["cases"])
        if outcome.broken
    ]
    grouped = (tuple(sorted(group, key=lambda one: one.order)) for group in _united(sightings))
    return tuple(sorted((Cause(sightings=group) for group in grouped), key=lambda cause: cause.worst.order))


def told(sighting: Sighting) -> str:
    """Return what was seen, without what differs from case to case: numbers, names, paths, what stands in brackets."""
    text = sighting.observed
    if sighting.outcome.verdict is Verdict.HANG:
        return text.rpartition("last seen in ")[2] or _bare(text)
    if "what was never saved" in text:
        return "what was never saved"
    errors = _ERROR.findall(text)
    if errors:
        return _bare(errors[-1])
    return _bare(text.partition(":")[0]) if sighting.harm is Harm.WRONG_VALUES else _bare(text)


def _united(sightings: Iterable[Sighting]) -> list[list[Sighting]]:
    """Groups of those that share a mark, directly or through others."""
    groups: list[tuple[set[tuple[object, ...]], list[Sighting]]] = []
    for sighting in sightings:
        marks, members = set(_marks(sighting)), [sighting]
        apart = []
        for group in groups:
            if group[0] & marks:
                marks |= group[0]
                members = group[1] + members
            else:
                apart.append(group)
        groups = [*apart, (marks, members)]
    return [members for _, members in groups]


def _marks(sighting: Sighting) -> Iterator[tuple[object, ...]]:
    test = sighting.outcome.case.partition("[")[0].strip()
    yield sighting.entry["id"], test, sighting.harm, sighting.kind
    yield sighting.harm, told(sighting), _shape(sighting)


def _shape(sighting: Sighting) -> str:
    """Say how a value is wrong: zeros and truncated texts in one run are seldom one fault."""
    found = re.search(r" is (\S+).* instead of ", sighting.observed) if sighting.kind == "values" else None
    value = found.group(1) if found else ""
    if re.fullmatch(r"-?[0-9.]+(?:e[+-]?[0-9]+)?", value):
        return "zero" if not float(value.rstrip(".")) else "number"
    return value if value in ("None", "nan", "inf", "-inf", "absent") else "other"


def _bare(text: str) -> str:
    for pattern, stand_in in ((_ASIDE, ""), (_QUOTED, "'"), (_NUMBER, "0")):
        text = pattern.sub(stand_in, text)
    return " ".join(text.split())
