"""Puts every clause of a run into the one place where a certificate shows it, and says what does not fit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dcp_conformance.harness.contract import Strength
from dcp_conformance.harness.verdicts.known_failures import KnownFailures
from dcp_conformance.harness.verdicts.ownership import Supplies, applicability
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, ClauseResult, Verdict, clause_result

if TYPE_CHECKING:
    from dcp_conformance.harness.contract import Catalogue, Clause


@dataclass
class SortedClauses:
    """`owned` and `engine` are the two columns, `not_applicable` and `excluded` map ids to reasons.

    Clauses of the levels that were run are all there, exercised or not; others only if some case reported on them.
    `errors` are sentences about outcomes that fit nowhere: each means a defect of the harness.
    """

    owned: list[ClauseResult] = field(default_factory=list)
    engine: list[ClauseResult] = field(default_factory=list)
    not_applicable: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def sort_clauses(
    outcomes: Iterable[CaseOutcome],
    catalogue: Catalogue,
    description: Supplies,
    known: KnownFailures,
    *,
    levels: Collection[str],
    devices: int,
) -> SortedClauses:
    """Merge the outcomes clause by clause. `levels` are those of the run, `devices` the accelerators in use."""
    by_clause: dict[str, list[CaseOutcome]] = {}
    for outcome in outcomes:
        by_clause.setdefault(outcome.clause, []).append(outcome)
    result = SortedClauses(errors=list(_unknown(by_clause, catalogue)))
    for clause in catalogue:
        cases = by_clause.get(clause.id, [])
        if cases or clause.level in levels:
            _place(result, clause, cases, description, known, devices)
    return result


def _place(
    result: SortedClauses,
    clause: Clause,
    cases: list[CaseOutcome],
    description: Supplies,
    known: KnownFailures,
    devices: int,
) -> None:
    applies = applicability(clause, description, devices=devices)
    if clause.strength is Strength.MAY or clause.excluded is not None:
        result.excluded[clause.id] = clause.excluded or "allowed freedom (MAY): it has no verdict"
        # A MAY clause may have a test that proves the harness tolerant; an excluded MUST has none by definition.
        checked = clause.strength is not Strength.MAY
        result.errors += _stray(clause, cases, "is excluded from the checks") if checked else _broke_down(clause, cases)
    elif applies.kind == "not-applicable":
        result.not_applicable[clause.id] = applies.reason
        reported = [case for case in cases if case.verdict is not Verdict.NOT_APPLICABLE]
        result.errors += _stray(clause, reported, "does not apply to this backend")
    elif applies.kind == "engine" and not any(case.broken for case in cases):
        result.engine.append(clause_result(clause, cases, column="engine"))
        result.errors += _broke_down(clause, cases)
    else:
        # Of a clause that it does not own, a backend may still be shown to be what broke it.
        result.owned.append(clause_result(clause, cases, known=known))


def _unknown(by_clause: Mapping[str, list[CaseOutcome]], catalogue: Catalogue) -> Iterator[str]:
    for clause, cases in by_clause.items():
        if clause not in catalogue:
            yield f"{clause}: no such clause, yet case {cases[0].case} reports on it: a defect of the harness."


def _stray(clause: Clause, cases: Iterable[CaseOutcome], why: str) -> Iterator[str]:
    for case in cases:
        said = f"{case.verdict.word} ({case.reason})" if case.reason else case.verdict.word
        yield f"{clause.id}: the clause {why}, yet case {case.case} reports {said}: a defect of the harness."


def _broke_down(clause: Clause, cases: Iterable[CaseOutcome]) -> Iterator[str]:
    """Find harness-errors outside the backend's column: they make the run fail too, though no level of it."""
    for case in cases:
        if case.verdict is Verdict.HARNESS_ERROR:
            yield f"{clause.id}, case {case.case}: {case.reason or 'the harness failed.'}"
