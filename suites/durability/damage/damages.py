"""What the tests of damaged checkpoints share: runs that go on after a crash, and laws about their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dcp_conformance.harness.cluster import Died, Hung, Outcome
from dcp_conformance.harness.faults.corruption import Grade
from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    death_finding,
    hang_finding,
    must_return,
)
from dcp_conformance.harness.subject.subject import Subject

if TYPE_CHECKING:
    from dcp_conformance.harness.subject.session import Session

# Seconds of loads in one run of ranks; and how long a single load may take before it counts as endless.
BATCH = 8.0
LONGEST_LOAD = 20.0
# After so many crashes the picture is clear.
MOST_CRASHES = 3
Row = dict[str, Any]


@dataclass
class Census:
    """How all damaged loads ended, and what is to say of those that took their process with them."""

    rows: list[Row] = field(default_factory=list)
    lost: list[Broken] = field(default_factory=list)

    def survived(self) -> None:
        """Broken if a load crashed or never ended."""
        if self.lost:
            raise self.lost[0]

    def noticed(self, what: str, wanted: Callable[[Row], bool] = lambda row: True) -> None:
        """Broken if a load gave wrong values without an error, among the rows that are wanted."""
        rows = [row for row in self.rows if wanted(row)]
        silent = [row for row in rows if row["grade"] == Grade.SILENT]
        if silent:
            first = silent[0]
            raise Broken(
                f"with {first['damage']} the load returned, and {first['wrong']} ({len(silent)} of {len(rows)} "
                f"{what} loaded wrong without an error)",
                kind="silent corruption", rank=0, evidence=self._evidence(silent),
            )  # fmt: skip

    def untouched(self) -> None:
        """Broken if a load changed what was stored."""
        for row in self.rows:
            if row["changed"]:
                raise Broken(
                    f"a load with {row['damage']} changed, added or removed {row['changed']} in the checkpoint",
                    kind="changed", rank=0,
                )  # fmt: skip

    def _evidence(self, silent: Sequence[Row]) -> dict[str, str]:
        counts = Counter(Grade(row["grade"]).words for row in self.rows)
        regions = Counter(row["region"] or row["damage"] for row in silent)
        return {
            "how the damaged loads ended": "\n".join(f"{count}: {words}" for words, count in counts.most_common()),
            "where damage was not noticed": "\n".join(f"{count}: {place}" for place, count in regions.most_common(12)),
        }


# What the kinds of damage are called on a certificate.
WORDS = {
    "delete": "deleted", "truncate": "cut short", "flip": "one bit flipped", "zero": "a block zeroed",
    "append": "bytes appended", "swap": "exchanged, equal size", "exchange": "exchanged, other size",
    "length": "a number 2^60", "metadata": "bits flipped all over", "stale": "of another checkpoint",
    "older": "of the save before",
}  # fmt: skip
# What kind of stored thing was damaged: the metadata, another object as a whole, or a place in it.
PLACES = {
    "metadata": "metadata", "object": "object", "header": "header", "payload": "values", "index": "index",
    "tail": "tail",
}  # fmt: skip
RUNGS = {
    Grade.SILENT: "SILENT", Grade.OPAQUE: "opaque", Grade.TYPED: "typed", Grade.NAMED: "named", Grade.HARMLESS: "right",
}  # fmt: skip
LADDER = "Worst load of damaged data (SILENT < opaque < typed < named error < right)"


@dataclass(frozen=True, kw_only=True)
class DearLoad:
    """One load: what stood in the place of which object, and what it cost. `grown` in bytes."""

    what: str
    name: str
    grown: int
    seconds: float


def report(subject: Subject, found: Census, kind: str) -> None:
    """Put on the certificate how low loads fell with this kind of damage, for each kind of stored thing."""
    grades = [(row["part"], Grade(row["grade"])) for row in found.rows]
    worst = [min((grade for part, grade in grades if part == place), default=None) for place in PLACES]
    silent = sum(grade == Grade.SILENT for _, grade in grades)
    cells = ["-" if grade is None else RUNGS[grade] for grade in worst]
    row: list[str | int] = [WORDS[kind], len(grades), len(found.lost), silent, *cells]
    subject.table(
        LADDER, ("damage", "loads", "died", "silent", *PLACES.values()), [row] if grades or found.lost else []
    )


def census(
    subject: Subject, scenario: Callable[[Session, tuple[str, ...], int, float], dict[str, Any]], kinds: tuple[str, ...]
) -> Census:
    """Run a scenario that takes (kinds, start, seconds) until all damages are done, and go on after each crash."""
    found, start, total = Census(), 0, None
    while total is None or start < total:
        outcomes = subject.run(1, scenario, kinds, start, BATCH, timeout=BATCH + LONGEST_LOAD)
        if isinstance(outcomes[0], Died | Hung):
            start = _casualty(found, outcomes[0], start)
            if len(found.lost) == MOST_CRASHES:
                break
            continue
        [observed] = must_return(outcomes)
        if observed["sound"]:
            raise Broken(f"with all bytes put back, {observed['sound'][0]}", kind="values", rank=0)
        found.rows += observed["rows"]
        start, total = observed["next"], observed["total"]
    report(subject, found, kinds[0])
    if not found.rows and not found.lost:
        raise NotApplicable("the checkpoint has no stored objects to which this can be done")
    return found


def _casualty(found: Census, outcome: Outcome, start: int) -> int:
    """Note a load that ended its process; the number of the next damage."""
    damages = [event.data for event in outcome.events if event.kind == "damage"]
    loss = (
        death_finding(outcome)
        if isinstance(outcome, Died)
        else hang_finding([outcome])
        if isinstance(outcome, Hung)
        else None
    )
    assert loss is not None
    if not damages:
        raise loss  # it was not a damaged load that ended it
    found.rows += [event.data["row"] for event in outcome.events if event.kind == "loaded"]
    what = f"with {damages[-1]['what']}, {loss.observed}"
    found.lost.append(Broken(what, kind=loss.kind, rank=0, evidence=loss.evidence))
    number = damages[-1]["number"]
    assert isinstance(number, int)
    return number + 1
