"""Random histories: played on ranks, and each finding reduced to the steps that it needs.

The same histories in every run: who certifies twice gets the same answer twice. As with drawn states, the law that
broke decides the clause, and blame is decided by the reduced history alone (its witness).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dcp_conformance.harness.cluster import Died, Hung
from dcp_conformance.harness.laws.drawn import Trip, broken
from dcp_conformance.harness.laws.verbs import Broken, death_finding, hang_finding, must_return, unexpected
from dcp_conformance.harness.states.histories import Step, history, sentence
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

# Histories of a case, the steps of the longest, and the seconds after which no further one is tried.
COUNT, LONGEST, SECONDS = 30, 30, 15.0
# Distinct findings of a case.
MOST_FINDINGS = 3
#: Set to `SEED:SECONDS`: other histories, for longer; the nightly job does, and prints the seed.
MORE = "DCP_CONFORMANCE_HISTORIES"
_played = module_on_ranks("dcp_conformance.harness.subject.played_history")


@dataclass(frozen=True, kw_only=True)
class _Failure:
    history: tuple[Step, ...]
    laws: frozenset[str]
    error: Broken

    def named(self) -> Broken:
        """Return the finding with the steps that it needs before it."""
        cause, evidence = self.error, {"history": "\n".join(map(str, self.history))}
        text = f"after these steps: {sentence(self.history)}: {cause.observed}"
        return Broken(text, kind=cause.kind, rank=cause.rank, evidence={**cause.evidence, **evidence})


@dataclass(frozen=True, kw_only=True)
class Histories:
    """A case of histories: which kinds of steps, on how many ranks, and which clauses each law is about."""

    title: str
    kinds: tuple[str, ...]
    world: int
    clauses: Mapping[str, tuple[str, ...]]

    def judge(self, subject: Subject) -> None:
        """Play histories until there are enough findings or the time is up; settle every clause."""
        search = _Search(self, subject)
        search.through()
        self._settle(subject, search.findings)
        columns = ("histories", "ranks", "played", "steps", "seed")
        subject.table("Random histories", columns, [(self.title, self.world, search.tried, search.steps, search.seed)])

    def judge_one(self, subject: Subject, steps: Sequence[Step]) -> None:
        """Play one reduced history; what blame is decided by."""
        failure = _Search(self, subject).played(steps)
        self._settle(subject, [] if failure is None else [failure])

    def _settle(self, subject: Subject, findings: Sequence[_Failure]) -> None:
        for clause in dict.fromkeys(clause for clauses in self.clauses.values() for clause in clauses):
            own = [found for found in findings if any(clause in self.clauses[law] for law in found.laws)]
            with subject.promise(clause):
                if own:
                    raise self._with_witnesses(own)

    def _with_witnesses(self, findings: Sequence[_Failure]) -> Broken:
        errors = [found.named() for found in findings]
        for found, error in zip(findings, errors, strict=True):
            # The default binds the value of this turn: blame is asked for long after the loop has ended.
            error.witness = lambda subject, steps=found.history: self.judge_one(subject, steps)
        first, *others = errors
        first.others = tuple(others)
        return first


class _Search:
    """The way through the histories of one case."""

    def __init__(self, case: Histories, subject: Subject) -> None:
        self._case, self._subject = case, subject
        self.seed, self._seconds, self._count = _how_long()
        self._ends = time.monotonic() + self._seconds
        self.tried = self.steps = 0
        self.findings: list[_Failure] = []

    def through(self) -> None:
        """Play history after history; each finding has a law that none before it has."""
        draw = random.Random(self.seed)
        while self.tried < self._count and len(self.findings) < MOST_FINDINGS and time.monotonic() < self._ends:
            failure = self.played(history(self._case.kinds, longest=LONGEST, draw=draw))
            known = {law for found in self.findings for law in found.laws}
            if failure is not None and not failure.laws <= known:
                self.findings.append(self._reduced(failure))

    def _reduced(self, failure: _Failure) -> _Failure:
        """Leave out one step after the other, the last first, as long as it fails by the same law.

        What fails once and not again is a finding all the same, as it was.
        """
        if failure.error.kind == "hang":
            return failure  # each try would cost another limit
        for place in reversed(range(len(failure.history))):
            fewer = failure.history[:place] + failure.history[place + 1 :]
            shorter = self.played(fewer) if fewer else None
            if shorter is not None and shorter.laws & failure.laws:
                failure = shorter
        return failure

    def played(self, steps: Sequence[Step]) -> _Failure | None:
        """Return how a history failed; None where every law held."""
        self.tried += 1
        self.steps += len(steps)
        outcomes = self._subject.run(self._case.world, _played.play, list(steps), f"history{self.tried}", timeout=90)
        lost = [outcome for outcome in outcomes if isinstance(outcome, Hung | Died)]
        if lost:
            hung = [outcome for outcome in lost if isinstance(outcome, Hung)]
            cause = hang_finding(hung) if hung else death_finding(next(o for o in lost if isinstance(o, Died)))
            laws = frozenset(self._case.clauses)
            return _Failure(history=tuple(steps), laws=laws, error=cause)
        trips: list[Trip] = must_return(outcomes)
        for rank, trip in enumerate(trips):
            if broken(trip):
                # What comes after the step that shows it was never done; the looks of the end are no steps.
                until = min(int(trip.row["step"]) + 1, len(steps))
                return _Failure(history=tuple(steps[:until]), laws=frozenset(trip.laws), error=_finding(trip, rank))
        return None


def _finding(trip: Trip, rank: int) -> Broken:
    if trip.found:
        evidence = {"differences": "\n".join(f"{law}: {item.sentence()}" for law, item in trip.found)}
        return Broken(trip.found[0][1].sentence(), kind="values", rank=rank, evidence=evidence)
    assert trip.ended is not None and trip.ended.error is not None
    error = unexpected(trip.ended.error, rank)
    if not isinstance(error, Broken):
        raise error
    return error


def _how_long() -> tuple[int, float, int]:
    """Return the seed, the seconds and the number of histories of this run."""
    seed, _, seconds = os.environ.get(MORE, "").partition(":")
    return (int(seed), float(seconds), 1_000_000) if seed and seconds else (0, SECONDS, COUNT)
