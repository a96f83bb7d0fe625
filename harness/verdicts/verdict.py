"""Outcomes of cases and how they become the result of a clause. Source of the rules: docs/words.md."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from dcp_conformance.harness.contract import Clause
    from dcp_conformance.harness.verdicts.known_failures import KnownFailure, KnownFailures

Column = Literal["backend", "engine"]
NOT_EXERCISED = "not exercised"
ENGINE = "engine"
KNOWN = "known"


class Verdict(enum.IntEnum):
    """What one case, or all cases of a clause together, came to. Ordered: the worst one wins."""

    # The numbers are the order: `merge` is a maximum. NOT_APPLICABLE lies below PASS, so that one case that does not
    # apply leaves a clause kept by its others; UNTESTABLE above it, so that one that could not be tested does not.
    NOT_APPLICABLE = 0
    PASS = 1
    UNTESTABLE = 2
    FAIL = 3
    HANG = 4
    HARNESS_ERROR = 5

    @property
    def word(self) -> str:
        """The verdict as reports write it, `harness-error` for instance."""
        return self.name.lower().replace("_", "-")

    @property
    def failing(self) -> bool:
        """True where the promise was seen broken (fail or hang); a harness-error breaks no promise."""
        return self in (Verdict.FAIL, Verdict.HANG)

    @classmethod
    def of(cls, word: str) -> Verdict:
        """Return the verdict that reports write as `word`. Raises KeyError for any other word."""
        return cls[word.upper().replace("-", "_")]

    @classmethod
    def merge(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """Merge by the maximum. No verdict at all is UNTESTABLE, so that nothing run never reads as kept."""
        return max(verdicts, default=cls.UNTESTABLE)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was seen when a promise was broken, in the words that the author of the backend reads."""

    #: A sentence.
    observed: str
    #: One word for grouping: `wrong-value`, `no-error`, `hang`, ...
    kind: str = ""
    #: The rank that saw it.
    rank: int | None = None
    #: Names and texts: key, index, both values, traceback.
    evidence: Mapping[str, str] = field(default_factory=dict)
    #: One command line.
    reproduce: str = ""

    def as_data(self) -> dict[str, Any]:
        """Return the finding as JSON data."""
        return {
            "observed": self.observed,
            "kind": self.kind,
            "rank": self.rank,
            "evidence": {str(name): str(text) for name, text in self.evidence.items()},
            "reproduce": self.reproduce,
        }


@dataclass(frozen=True, kw_only=True)
class CaseOutcome:
    """What one case showed about one clause."""

    clause: str
    case: str
    verdict: Verdict
    #: "engine" for a failure shown to be the engine's.
    blame: Column | None = None
    #: Why it is not a plain pass; carries the sentence of the blame.
    reason: str = ""
    finding: Finding | None = None
    #: Wall time of the case.
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    #: The evidence that the backend's own methods were reached.
    used: tuple[str, ...] = ()

    @property
    def broken(self) -> bool:
        """True where this case counts against the backend: it fails or hangs, and not through the engine."""
        return self.verdict.failing and self.blame != ENGINE

    @property
    def engine(self) -> bool:
        """True where this case fails or hangs and was shown to be the engine's."""
        return self.verdict.failing and self.blame == ENGINE

    def as_data(self) -> dict[str, Any]:
        """Return the outcome as JSON data; `CaseOutcome.from_data` reads it back."""
        return {
            "clause": self.clause,
            "case": self.case,
            "verdict": self.verdict.word,
            "blame": self.blame,
            "reason": self.reason,
            "finding": None if self.finding is None else self.finding.as_data(),
            "seconds": round(self.seconds, 6),
            "notes": list(self.notes),
            "used": list(self.used),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> CaseOutcome:
        """Return the outcome that `as_data` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        finding = data["finding"]
        return cls(
            clause=data["clause"],
            case=data["case"],
            verdict=Verdict.of(data["verdict"]),
            blame=data["blame"],
            reason=data["reason"],
            finding=None if finding is None else Finding(**finding),
            seconds=data["seconds"],
            notes=tuple(data["notes"]),
            used=tuple(data["used"]),
        )


@dataclass(frozen=True, kw_only=True)
class ClauseResult:
    """What all cases of one clause came to."""

    clause: str
    level: str
    strength: str
    column: Column
    #: None when no case had any outcome (*not exercised*).
    verdict: Verdict | None
    #: The verdict of an owned clause stands for failures that were all shown to be the engine's.
    engine: bool = False
    cases: tuple[CaseOutcome, ...] = ()
    #: The known failure that covers every failing case.
    known: KnownFailure | None = None

    @property
    def standing(self) -> str:
        """One word for reports: a verdict's word, `engine`, `known` or `not exercised`."""
        if self.verdict is None:
            return NOT_EXERCISED
        if self.engine:
            return ENGINE
        return KNOWN if self.known is not None else self.verdict.word

    @property
    def failing(self) -> tuple[CaseOutcome, ...]:
        """The cases behind a fail or hang: the backend's own, or the engine's where the engine is reported."""
        if self.engine or self.column == "engine":
            return tuple(case for case in self.cases if case.verdict.failing)
        return tuple(case for case in self.cases if case.broken)


def clause_result(
    clause: Clause,
    outcomes: Iterable[CaseOutcome],
    *,
    column: Column = "backend",
    known: KnownFailures | None = None,
) -> ClauseResult:
    """Merge the outcomes of one clause's cases, the only place where that is done.

    Failures of the engine do not hide what the other cases of an owned clause showed: it is `engine` only where its
    remaining cases pass, do not apply, or are none. `known` is laid over the merged verdict, and never over an
    untestable clause or a harness-error: a failed set-up is not the failure that was expected.
    """
    # In one order whatever the workers' was: a certificate of the same run must not depend on who was faster.
    cases = tuple(sorted(outcomes, key=lambda outcome: (outcome.case, outcome.verdict)))
    verdict, engine = _merged(cases, column)
    failing = verdict is not None and verdict.failing and not engine and column == "backend"
    entries = [known.expected(case.clause, case.case) for case in cases if case.broken] if failing and known else []
    return ClauseResult(
        clause=clause.id,
        level=clause.level,
        strength=clause.strength.name,
        column=column,
        verdict=verdict,
        engine=engine,
        cases=cases,
        # Every failing case must be listed: one that is not would be hidden behind those that are.
        known=entries[0] if all(entries) and entries else None,
    )


def _merged(cases: tuple[CaseOutcome, ...], column: Column) -> tuple[Verdict | None, bool]:
    """Return the verdict, and whether it stands for the engine's failures only."""
    if not cases:
        return None, False
    # `Not exercised` is no verdict at all (above), and never a pass.
    own = [case.verdict for case in cases if not case.engine]
    if column == "engine" or len(own) == len(cases):
        return Verdict.merge(case.verdict for case in cases), False
    # What the backend's own cases show comes first: an engine's failure beside it explains nothing of it.
    if own and Verdict.merge(own) > Verdict.PASS:
        return Verdict.merge(own), False
    return Verdict.merge(case.verdict for case in cases), True
