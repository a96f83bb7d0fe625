"""Checks a certificate against itself and the contract: that it is whole, and that each word follows from evidence.

Verdicts of cases follow from their findings, those of clauses from their cases, levels and the exit status from the
clauses. What is consistent may still be made up: nothing here shows who made a certificate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dcp_conformance.harness.certificate.schema import validate
from dcp_conformance.harness.certificate.seal import catalogue_digest, clause_data, seal_problems
from dcp_conformance.harness.contract import Clause, Strength
from dcp_conformance.harness.verdicts.known_failures import KnownFailures, known_of
from dcp_conformance.harness.verdicts.levels import LevelResult, exit_code, level_results
from dcp_conformance.harness.verdicts.verdict import (
    NOT_EXERCISED,
    CaseOutcome,
    ClauseResult,
    Column,
    Verdict,
    clause_result,
)

if TYPE_CHECKING:
    from dcp_conformance.harness.contract import Catalogue


def verify(certificate: Mapping[str, Any]) -> list[str]:
    """Name every way in which a certificate contradicts its schema or itself; empty if it does not."""
    problems = validate(certificate)
    if problems:
        return problems
    known = known_of(certificate)
    owned = results(certificate, "backend", known)
    engine = results(certificate, "engine", known)
    levels = level_results(
        [*owned, *engine, *_not_applicable(certificate)],
        selected=certificate["run"]["levels"],
        partial=bool(certificate["run"]["partial"]),
    )
    return [
        *seal_problems(certificate),
        *_evidence_problems([*owned, *engine]),
        *_clause_problems(certificate["clauses"], owned),
        *_clause_problems(certificate["engine_column"], engine),
        *_level_problems(certificate["levels"], levels),
        *_list_problems(certificate, owned, engine),
        *_exit_problems(certificate["run"], levels),
    ]


def catalogue_problems(certificate: Mapping[str, Any], catalogue: Catalogue) -> list[str]:
    """Name every way in which a certificate of this very suite misquotes the contract."""
    entries = [*certificate["clauses"], *certificate["engine_column"]]
    placed = {entry["id"] for entry in (*entries, *certificate["not_applicable"], *certificate["excluded"])}
    strangers = sorted(clause for clause in placed if clause not in catalogue)
    changed = [
        (entry["id"], name)
        for entry in entries
        if entry["id"] in catalogue
        for name, value in clause_data(catalogue[entry["id"]]).items()
        if entry[name] != value
    ]
    levels = certificate["run"]["levels"]
    missing = [clause.id for clause in catalogue if clause.level in levels and clause.id not in placed]
    return [
        *(f"{clause}: the contract has no such clause" for clause in strangers),
        *(f"{clause}: its {name} is not that of the contract" for clause, name in changed),
        *(f"{clause}: belongs to a level of the run and is not on the certificate" for clause in missing),
    ]


def same_suite(certificate: Mapping[str, Any], catalogue: Catalogue) -> bool:
    """Tell whether the certificate was made with this very contract."""
    return bool(certificate["suite"]["digest"] == catalogue_digest(catalogue))


def results(certificate: Mapping[str, Any], column: Column, known: KnownFailures) -> list[ClauseResult]:
    """Return the results of one column, merged again from the cases that the certificate lists."""
    listed = certificate["clauses" if column == "backend" else "engine_column"]
    return [
        clause_result(_clause(entry), map(CaseOutcome.from_data, entry["cases"]), column=column, known=known)
        for entry in listed
    ]


def _clause(entry: Mapping[str, Any]) -> Clause:
    return Clause(
        id=entry["id"],
        strength=Strength[entry["strength"]],
        applies=frozenset(entry["applies"]),
        world=entry["world"],
        level=entry["level"],
        promise=entry["promise"],
        source=entry["source"],
        about=tuple(entry["about"]),
        basis=entry["basis"],
        experimental=entry["experimental"],
    )


def _not_applicable(certificate: Mapping[str, Any]) -> Iterator[ClauseResult]:
    for entry in certificate["not_applicable"]:
        yield ClauseResult(
            clause=entry["id"],
            level=entry["level"],
            strength="MUST",
            column="backend",
            verdict=Verdict.NOT_APPLICABLE,
        )


def _evidence_problems(merged: Iterable[ClauseResult]) -> Iterator[str]:
    for result in merged:
        for case in result.cases:
            lacking = _lacks(case)
            if lacking:
                yield f"{case.clause}, case {case.case}: says {case.verdict.word}, {lacking}"


def _lacks(case: CaseOutcome) -> str:
    """Return what speaks against the verdict of a case; empty where its evidence is that of its verdict."""
    if case.verdict is Verdict.PASS:
        if case.finding is not None or case.blame is not None:
            return "and has a finding against it"
        return "" if case.used else "without evidence that the backend's own code was reached"
    if case.verdict.failing:
        if case.finding is None or case.blame is None:
            return "without a finding or without blame"
        return "" if case.finding.observed else "and its finding says nothing"
    return "" if case.reason else "without a reason"


def _clause_problems(entries: Iterable[Mapping[str, Any]], merged: Iterable[ClauseResult]) -> Iterator[str]:
    for entry, result in zip(entries, merged, strict=True):
        verdict = None if result.verdict is None else result.verdict.word
        known = None if result.known is None else result.known.as_data()
        said = (entry["standing"], entry["verdict"], entry["engine"], entry["known"])
        if said != (result.standing, verdict, result.engine, known):
            yield f"{entry['id']}: says {entry['standing']}, its cases say {result.standing}"
        if any(case.clause != entry["id"] for case in result.cases):
            yield f"{entry['id']}: holds a case of another clause"


def _level_problems(entries: Iterable[Mapping[str, Any]], levels: Iterable[LevelResult]) -> Iterator[str]:
    said = {entry["level"]: entry for entry in entries}
    for level in levels:
        entry, right = said.get(level.level), level.as_data()
        if entry is None:
            yield f"level {level.level}: missing"
        elif entry != right:
            wrong = [name for name in right if entry[name] != right[name]]
            said_and_right = [f"{name} {entry[name]!r} (its clauses say {right[name]!r})" for name in wrong]
            yield f"level {level.level}: " + ", ".join(said_and_right)


def _list_problems(
    certificate: Mapping[str, Any], owned: Iterable[ClauseResult], engine: Iterable[ClauseResult]
) -> Iterator[str]:
    everything = [*owned, *engine]
    places = [result.clause for result in everything]
    places += [entry["id"] for name in ("not_applicable", "excluded") for entry in certificate[name]]
    for clause in sorted({clause for clause in places if places.count(clause) > 1}):
        yield f"{clause}: listed in more than one place"
    if certificate["not_exercised"] != sorted(item.clause for item in owned if item.standing == NOT_EXERCISED):
        yield "not_exercised: not the owned clauses without an outcome"
    hung = [(case.clause, case.case) for item in everything for case in item.cases if case.verdict is Verdict.HANG]
    if sorted((hang["clause"], hang["case"]) for hang in certificate["hangs"]) != sorted(hung):
        yield "hangs: not the cases that hung"
    failing = [case for item in owned for case in item.cases if case.broken]
    for entry in certificate["known_failures"]:
        covers = any(case.clause == entry["clause"] and entry["case"] in (None, case.case) for case in failing)
        if entry["used"] and not covers:
            yield f"known failure of {entry['clause']}: said to be used, but no failing case matches it"


def _exit_problems(run: Mapping[str, Any], levels: tuple[LevelResult, ...]) -> Iterator[str]:
    right = exit_code(
        levels,
        asked=run["asked"],
        strict=run["strict"],
        partial=bool(run["partial"]),
        errors=run["errors"],
        pytest_status=run["pytest_status"],
    )
    if run["exit_status"] != right:
        yield f"exit_status: says {run['exit_status']}, the levels say {right}"
