"""Drawn cases: many combinations of a model are judged, and each finding is reduced to what it needs to show.

Which clause a finding belongs to is decided by the law that broke. Blame is decided for the reduced combination alone
(its witness), so that a defect of an engine in one combination never hides a defect of the backend in another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dcp_conformance.harness.cluster import Died, Hung, Outcome
from dcp_conformance.harness.laws.drawn import Trip, broken
from dcp_conformance.harness.laws.verbs import (
    Broken,
    HarnessFault,
    death_finding,
    hang_finding,
    must_return,
    unexpected,
)
from dcp_conformance.harness.states.covering import Coverage, coverage, pairwise
from dcp_conformance.harness.states.reducing import explains, reduced, restored, sentence
from dcp_conformance.harness.states.varied import Combination, Model, options
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

# Combinations in one run on ranks: few enough for the limit of a run, many enough to cost little more than themselves.
PER_RUN = 12
# Distinct findings of a case; what else fails after them is not looked into.
MOST_FINDINGS = 4
# A slow store meets fewer combinations, and the certificate says how many pairs those were; seconds for a case.
MOST_SECONDS = 60.0
# (subject, combinations, name of their ids) -> for each rank how each went; ranks stop after the first that fails.
Play = Callable[[Subject, list[Combination], str], list[Outcome]]
_settings = module_on_ranks("dcp_conformance.harness.subject.writer_options")


@dataclass(frozen=True, kw_only=True)
class Found:
    """One finding: the values that it needs, the laws that it breaks, and the sentence of each."""

    needed: Combination
    laws: frozenset[str]
    error: Broken


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A drawn case: a model, how its combinations are played, and which clauses each law is about."""

    title: str
    model: Model
    play: Play
    clauses: Mapping[str, tuple[str, ...]]
    # What combinations of one run must have in common: the worlds that they need, for instance.
    together: Callable[[Combination], str] = lambda row: ""

    def judge(self, subject: Subject) -> None:
        """Judge all combinations, settle every clause, and say on the certificate what met."""
        model = self.fitted(subject)
        rows = sorted(pairwise(model), key=self.together)
        search = _Search(self, subject, model)
        met = search.through(rows)
        self._settle(subject, model, search.findings)
        self._tell(subject, coverage(model, met, 2), coverage(model, met, 3), len(met))

    def judge_one(self, subject: Subject, model: Model, needed: Combination) -> None:
        """Judge one reduced combination; what blame is decided by."""
        search = _Search(self, subject, model)
        trip = search.tried([restored(model, needed)])
        found = [] if trip is None else [search.found(trip, needed)]
        self._settle(subject, model, found)

    def fitted(self, subject: Subject) -> Model:
        """Return the model as far as the backend's capabilities go, with its option sets."""
        # Asked of a rank: this process has not imported the backend.
        opted_out = subject.alone(_settings.opted_out_of)
        said = options(subject.alone(_settings.said_options))
        return replace(self.model, factors=(*self.model.factors, said)).within(opted_out)

    def _settle(self, subject: Subject, model: Model, findings: Sequence[Found]) -> None:
        for clause in dict.fromkeys(clause for clauses in self.clauses.values() for clause in clauses):
            own = [found for found in findings if any(clause in self.clauses[law] for law in found.laws)]
            # Settled with or without a finding: a clause that met only combinations which kept it has passed.
            with subject.promise(clause):
                if own:
                    raise self._with_witnesses(model, own)

    def _with_witnesses(self, model: Model, findings: Sequence[Found]) -> Broken:
        for found in findings:
            needed = found.needed
            # The default binds the value of this turn: blame is asked for long after the loop has ended.
            found.error.witness = lambda subject, needed=needed: self.judge_one(subject, model, needed)
        first, *others = [found.error for found in findings]
        # All of them, since the first may turn out to be an engine's defect and the next one the backend's own.
        first.others = tuple(others)
        return first

    def _tell(self, subject: Subject, pairs: Coverage, triples: Coverage, rows: int) -> None:
        columns = (
            "drawn",
            "combinations",
            "pairs met",
            "with telling values",
            "of",
            "triples met",
            "of ",
            "pairs that cannot meet",
        )
        cannot = "; ".join(" and ".join(f"{name} {value}" for name, value in pair) for pair in pairs.impossible)
        row = (
            self.title,
            rows,
            pairs.met,
            pairs.shown,
            pairs.possible,
            triples.met,
            triples.possible,
            cannot or "none",
        )
        subject.table("Combinations", columns, [row])


class _Search:
    """The way through the combinations of one case."""

    def __init__(self, drawing: Drawing, subject: Subject, model: Model) -> None:
        self._drawing, self._subject, self._model = drawing, subject, model
        self._runs, self._began = 0, time.monotonic()
        self.findings: list[Found] = []

    def through(self, rows: Sequence[Combination]) -> list[Combination]:
        """Judge the rows until there are enough findings or the time is up; returns those that kept every law."""
        kept, left = list[Combination](), list(rows)
        while left and len(self.findings) < MOST_FINDINGS and time.monotonic() - self._began < MOST_SECONDS:
            # Only rows that need the same world can share a run; `judge` has sorted them so that they are neighbours.
            alike = [row for row in left[:PER_RUN] if self._drawing.together(row) == self._drawing.together(left[0])]
            now, left = alike, left[len(alike) :]
            trip = self.tried(now)
            if trip is None:
                kept += now
                continue
            place = now.index(trip.row)
            # Ranks stop at the first row that fails, so those before it kept every law, and those after it are open.
            kept += now[:place]
            found = self._looked_into(trip)
            self.findings.append(found)
            # What has all that this finding needs would only show it again.
            left = [row for row in now[place + 1 :] + left if not explains(found.needed, row)]
        return kept

    def tried(self, rows: list[Combination]) -> _Failure | None:
        """Return how the first of the rows failed that did; None where all kept every law."""
        self._runs += 1
        outcomes = self._drawing.play(self._subject, rows, f"drawn{self._runs}")
        lost = [outcome for outcome in outcomes if isinstance(outcome, Hung | Died)]
        if lost:
            return _Failure(row=rows[_reached(lost[0])], lost=tuple(lost))
        trips: list[list[Trip]] = must_return(outcomes)
        for place in range(min(map(len, trips))):
            for rank, rank_trips in enumerate(trips):
                if broken(rank_trips[place]):
                    return _Failure(row=rows[place], trip=rank_trips[place], rank=rank)
        return None

    def found(self, failure: _Failure, needed: Combination) -> Found:
        """Return the finding for a failure that needs these values."""
        return Found(needed=needed, laws=failure.laws(self._drawing.clauses), error=failure.finding(needed))

    def _looked_into(self, failure: _Failure) -> Found:
        if any(isinstance(outcome, Hung) for outcome in failure.lost):
            plain = self._model.plain()
            return self.found(failure, {name: value for name, value in failure.row.items() if value != plain[name]})
        last = failure

        def fails(row: Combination) -> bool:
            nonlocal last
            tried = self.tried([row])
            alike = tried is not None and bool(tried.laws(self._drawing.clauses) & failure.laws(self._drawing.clauses))
            last = tried if alike and tried is not None else last
            return alike

        needed = reduced(self._model, failure.row, fails)
        return self.found(last, needed)


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """A combination that broke a law, or in which a rank was lost."""

    row: Combination
    trip: Trip | None = None
    rank: int = 0
    lost: tuple[Hung | Died, ...] = ()

    def laws(self, known: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
        """Return the laws that it broke; a lost rank breaks them all."""
        if self.trip is None:
            return frozenset(known)
        # A law without a clause would be judged and never reported.
        unknown = self.trip.laws - set(known)
        if unknown:
            raise HarnessFault(f"the case names no clause for the laws {sorted(unknown)}: {self.trip.found}")
        return frozenset(self.trip.laws)

    def finding(self, needed: Combination) -> Broken:
        """Return the finding, named by what it needs."""
        said, evidence = sentence(needed), {"combination": "\n".join(f"{k}: {v}" for k, v in self.row.items())}
        if self.trip is None:
            hung = [outcome for outcome in self.lost if isinstance(outcome, Hung)]
            cause = hang_finding(hung) if hung else death_finding(next(o for o in self.lost if isinstance(o, Died)))
            return _renamed(cause, said, evidence)
        if self.trip.found:
            law, difference = self.trip.found[0]
            text = f"with {said}: {difference.sentence()}"
            evidence["differences"] = "\n".join(f"{law}: {item.sentence()}" for law, item in self.trip.found)
            return Broken(text, kind="values", rank=self.rank, evidence=evidence)
        assert self.trip.ended is not None and self.trip.ended.error is not None
        error = unexpected(self.trip.ended.error, self.rank)
        if not isinstance(error, Broken):
            raise error
        return _renamed(error, f"{said}, in {self.trip.step}", evidence)


def _renamed(cause: Broken, said: str, evidence: Mapping[str, str]) -> Broken:
    return Broken(
        f"with {said}: {cause.observed}", kind=cause.kind, rank=cause.rank, evidence={**cause.evidence, **evidence}
    )


def _reached(outcome: Outcome) -> int:
    """Return the combination that a lost rank was at."""
    places = [int(event.data["place"]) for event in outcome.events if event.kind == "combination"]
    return places[-1] if places else 0
