"""Who loads whose checkpoints: what became of each, the laws about it, and its row in the table on the certificate.

Data only: neither torch nor pytest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcp_conformance import fixtures
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.laws.verbs import Broken, described, of_subject, unexpected
from dcp_conformance.harness.subject.spec import TORCH_ENGINE
from dcp_conformance.harness.subject.subject import Subject

TITLE = "Who loads whose checkpoints"
COLUMNS = ("no", "written by", "loaded by", "on 1 rank", "on 2 ranks")
THIS = "this backend"
# Other implementations of torch's files, by the names of their backends.
PEERS = (TORCH_ENGINE, "reference_impl")

LOADS, REFUSES, WRONG = "loads", "refuses", "WRONG"
# The releases whose checkpoints FMT-13 promises begin here: before it, ranks other than 0 lost what only they had.
FIRST = (2, 1)
# The place of those that are at hand, before the releases by their age.
AT_HAND = 0


@dataclass(frozen=True)
class Loaded:
    """What became of one checkpoint on one rank; what: which one it is, for sentences."""

    what: str
    rank: int
    attempt: Attempt
    unlike: Sequence[Difference]

    @property
    def cell(self) -> str:
        """`loads`, `refuses` or `WRONG`."""
        if not self.attempt.ok:
            return REFUSES
        return WRONG if self.unlike else LOADS


def all_loaded(values: Sequence[Sequence[Mapping[str, Any]]], what: str) -> list[Loaded]:
    """What was asked for, from the lists that the scenarios of fixtures return, one for each rank."""
    return [
        Loaded(f"{case['case']!r} {what}", rank, case["attempt"], case["unlike"])
        for rank, cases in enumerate(values)
        for case in cases
        if not case["left_out"]
    ]


def loads(found: Sequence[Loaded]) -> None:
    """Broken unless each checkpoint came back with its values on every rank."""
    for one in found:
        if one.attempt.error is not None:
            raise _raised(one)
    never_wrong(found)


def never_wrong(found: Sequence[Loaded]) -> None:
    """Broken where a load returned and left something else than what was saved."""
    for one in found:
        if one.attempt.error is not None and not of_subject(one.attempt.error):
            raise unexpected(one.attempt.error, one.rank)
        if one.cell == WRONG:
            more = "\n".join(item.sentence() for item in one.unlike)
            observed = f"it loaded {one.what} without a word, and {one.unlike[0].sentence()}"
            raise Broken(observed, kind="values", rank=one.rank, evidence={"differences": more})


def _raised(one: Loaded) -> Exception:
    error = one.attempt.error
    assert error is not None
    if not of_subject(error):
        return unexpected(error, one.rank)
    evidence = {"traceback": error.traceback}
    return Broken(
        f"it did not load {one.what}: {described(error)}", kind="not loaded", rank=one.rank, evidence=evidence
    )


def left_out(values: Sequence[Sequence[Mapping[str, Any]]]) -> int:
    """How many cases rank 0 was not asked for: a package is missing, or the storage opted out of what they need."""
    return sum(bool(case["left_out"]) for case in values[0])


def cell(found: Sequence[Loaded], *, left_out: int = 0) -> str:
    """How many checkpoints came back wrong, were refused and loaded, the worst rank of each counting."""
    worst: dict[str, str] = {}
    order = (LOADS, REFUSES, WRONG)
    for one in found:
        worst[one.what] = max(one.cell, worst.get(one.what, LOADS), key=order.index)
    counts = Counter(worst.values())
    words = [f"{word} {counts[word]}" for word in reversed(order) if counts[word]]
    return ", ".join(words + ([f"not asked {left_out}"] if left_out else [])) or "not asked"


def ranks(world: int) -> str:
    """`on 1 rank`, `on 2 ranks`."""
    return f"on {world} rank{'s' if world > 1 else ''}"


def report(subject: Subject, no: int, writer: str, reader: str, cells: Sequence[str]) -> None:
    """One row of the table."""
    subject.table(TITLE, COLUMNS, [(no, writer, reader, *cells)])


def reported(
    subject: Subject, release: str, reader: str, runs: Mapping[int, Sequence[Sequence[Mapping[str, Any]]]]
) -> list[Loaded]:
    """What a reader made of a release on each number of ranks (`runs`), after its row in the table."""
    found = {world: all_loaded(values, f"of torch {release} {ranks(world)}") for world, values in runs.items()}
    cells = [cell(found.get(world, ()), left_out=left_out(runs.get(world, [[]]))) for world in (1, 2)]
    report(subject, number(release), f"torch {release}", reader, cells)
    return [one for some in found.values() for one in some]


def number(release: str) -> int:
    """The place of a release in the table: by age."""
    return fixtures.releases().index(release) + 1


def beyond(release: str, facts: Mapping[str, Any]) -> str:
    """Why FMT-13 does not speak of a release here; empty where it does.

    It speaks of earlier releases. A checkpoint of a later torch, or of a later Python, may hold what nobody who wrote
    the reader could know; that is left to FMT-15.
    """
    torch_release, _, python = release.partition("-python")
    if _version(torch_release) < FIRST:
        return "it is older than torch 2.1, where the promise begins"
    if _version(torch_release) > _version(facts["torch"]):
        return f"it is newer than the torch {facts['torch']} that reads it"
    if python and _version(python) > tuple(facts["python"]):
        return f"Python {python} wrote it, which is newer than the one that reads it"
    return ""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def tolerated(found: Sequence[Loaded], facts: Mapping[str, Any]) -> Iterator[Loaded]:
    """Without compressed ones for a storage that offers no stream transforms: that one may refuse them."""
    for one in found:
        if "extensions" in facts["offers"] or not one.what.startswith("'compressed'"):
            yield one
