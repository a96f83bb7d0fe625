"""The certificate: one JSON truth built from the events of a run, the catalogue and the backend's description."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from dcp_conformance.harness.certificate.cleaning import Cleaner
from dcp_conformance.harness.certificate.events import RunEvents
from dcp_conformance.harness.certificate.redact import secret_values
from dcp_conformance.harness.certificate.schema import SCHEMA, validate
from dcp_conformance.harness.certificate.seal import catalogue_digest, clause_data, sealed
from dcp_conformance.harness.certificate.sorting import SortedClauses, sort_clauses
from dcp_conformance.harness.contract import FUNCTIONS, LETTERS
from dcp_conformance.harness.verdicts.known_failures import KnownFailure, KnownFailures
from dcp_conformance.harness.verdicts.levels import LevelResult, exit_code, level_results
from dcp_conformance.harness.verdicts.ownership import Supplies
from dcp_conformance.harness.verdicts.verdict import NOT_EXERCISED, ClauseResult, Verdict

if TYPE_CHECKING:
    from dcp_conformance.harness.contract import Catalogue


class Describes(Supplies, Protocol):
    """A backend's Description, as `harness.backend.resolve` makes it: plain data."""

    @property
    def name(self) -> str: ...
    @property
    def reference(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def location(self) -> str: ...
    @property
    def commit(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def inherits(self) -> Collection[str]: ...
    @property
    def torch(self) -> str: ...
    @property
    def patience(self) -> float: ...
    @property
    def notes(self) -> Collection[str]: ...


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What only the caller knows about a run. `started` and `ended` are moments in UTC, as isoformat writes them.

    `levels` were run, `asked` were named by --level; `partial` says in sentences why the run was narrowed (empty: it
    was not); `errors` are sentences that make the run fail, `notes` do not; `devices` is how many accelerators of the
    kind `device` there are, on which tensors lay. `secrets` are literal values to take out of every text (those of
    environment variables, say); the ones in `options` and `backend_options` with a secret's name are found here.
    `checklist`: what the checks enumerate, as harness.states.checklist gives it.
    """

    suite_version: str
    python: str
    machine: Mapping[str, str | int]
    scratch_file_system: str
    world_sizes: Sequence[int]
    started: str
    ended: str
    levels: Sequence[str]
    asked: Sequence[str] = ()
    device: str = "cpu"
    devices: int = 0
    group_backend: str = "gloo"
    seed: int = 0
    command: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    backend_options: Mapping[str, object] = field(default_factory=dict)
    strict: bool = False
    partial: Sequence[str] = ()
    errors: Sequence[str] = ()
    notes: Sequence[str] = ()
    pytest_status: int = 0
    secrets: Sequence[str] = ()
    checklist: Sequence[Mapping[str, object]] = ()


def build(
    events: RunEvents,
    catalogue: Catalogue,
    description: Describes,
    run: RunInfo,
    known: KnownFailures | None = None,
) -> dict[str, Any]:
    """Return the certificate of a run as JSON data, in a deterministic order, without credentials.

    The caller logs `finished` for its own process first: a worker without it makes the run partial. Raises ValueError
    if the result breaks the schema, which is a defect of the caller or of this module.
    """
    clean = Cleaner((*run.secrets, *secret_values(run.backend_options), *secret_values(run.options)))
    entries = replace(known, entries=tuple(map(clean.entry, known.entries))) if known else KnownFailures()
    sorted_ = sort_clauses(
        map(clean.outcome, events.outcomes), catalogue, description, entries, levels=run.levels, devices=run.devices
    )
    partial = _partial(events, run)
    listed = entries.problems(
        events.outcomes, collected=events.collected, catalogue=catalogue, levels=run.levels, partial=bool(partial)
    )
    errors = (*run.errors, *events.errors, *sorted_.errors, *listed)
    results = [*sorted_.owned, *sorted_.engine, *_absent(sorted_, catalogue)]
    levels = level_results(results, selected=run.levels, partial=bool(partial))
    certificate = {
        "schema": SCHEMA,
        "suite": {
            "version": run.suite_version,
            "clauses": len(catalogue),
            "digest": catalogue_digest(catalogue),
        },
        "backend": _backend(description, clean),
        "engine": f"torch {description.torch}".strip(),
        "environment": _environment(description, run),
        "run": _run(run, events, levels, partial=partial, errors=errors, clean=clean),
        "levels": [level.as_data() for level in levels],
        "clauses": _clauses(sorted_.owned, catalogue),
        "engine_column": _clauses(sorted_.engine, catalogue),
        "not_applicable": [
            {"id": clause, "level": catalogue[clause].level, "reason": clean(reason)}
            for clause, reason in sorted(sorted_.not_applicable.items())
        ],
        "excluded": [
            {
                "id": clause,
                "level": catalogue[clause].level,
                "strength": catalogue[clause].strength.name,
                "reason": reason,
            }
            for clause, reason in sorted(sorted_.excluded.items())
        ],
        "not_exercised": sorted(result.clause for result in sorted_.owned if result.standing == NOT_EXERCISED),
        "known_failures": _known(entries, sorted_.owned),
        "hangs": [hang for result in (*sorted_.owned, *sorted_.engine) for hang in _hangs(result)],
        "checklist": [dict(entry) for entry in run.checklist],
        "tables": [clean.table(table).as_data() for table in events.tables],
        "leftovers": clean.all(events.leftovers),
    }
    certificate = sealed(certificate, events=events.digest)
    problems = validate(certificate)
    if problems:
        raise ValueError("The harness built a certificate that breaks its own schema: " + "; ".join(problems[:5]))
    return certificate


def _partial(events: RunEvents, run: RunInfo) -> tuple[str, ...]:
    """Return why no level can be held; what the event files show is added to what the caller knows."""
    reasons = list(run.partial)
    reasons += [f"worker {worker} ended before it had finished" for worker in events.unfinished]
    if events.never_started:
        count = len(events.never_started)
        reasons.append(f"{count} collected {'case' if count == 1 else 'cases'} never ran")
    if events.foreign:
        reasons.append("somebody else wrote into the records of the run, which only the code under test can have done")
    return tuple(reasons)


def _absent(sorted_: SortedClauses, catalogue: Catalogue) -> Iterable[ClauseResult]:
    for clause in sorted_.not_applicable:
        yield ClauseResult(
            clause=clause,
            level=catalogue[clause].level,
            strength=catalogue[clause].strength.name,
            column="backend",
            verdict=Verdict.NOT_APPLICABLE,
        )


def _backend(description: Describes, clean: Cleaner) -> dict[str, Any]:
    return {
        "name": clean(description.name),
        "reference": clean(description.reference),
        "version": clean(description.version),
        "location": clean(description.location),
        "commit": clean(description.commit),
        "digest": description.digest,
        "letters": [letter for letter in LETTERS if letter in description.letters],
        "unsupported": {name: clean(reason) for name, reason in sorted(description.unsupported.items())},
        "offers": sorted(description.offers),
        "exports": sorted(description.exports),
        "inherits": sorted(description.inherits),
        "patience": description.patience,
        "functions": [name for name in FUNCTIONS if name in description.functions],
        "notes": clean.all(description.notes),
    }


def _environment(description: Describes, run: RunInfo) -> dict[str, Any]:
    return {
        "python": run.python,
        "torch": description.torch,
        "machine": dict(run.machine),
        "scratch_file_system": run.scratch_file_system,
        "topology": {
            "world_sizes": sorted(run.world_sizes),
            "device": run.device,
            "devices": run.devices,
            "group_backend": run.group_backend,
        },
    }


def _run(
    run: RunInfo,
    events: RunEvents,
    levels: Sequence[LevelResult],
    *,
    partial: Sequence[str],
    errors: Sequence[str],
    clean: Cleaner,
) -> dict[str, Any]:
    status = exit_code(
        levels,
        asked=run.asked,
        strict=run.strict,
        partial=bool(partial),
        errors=errors,
        pytest_status=run.pytest_status,
    )
    return {
        "command": clean(run.command),
        "options": clean.mapping(run.options),
        "backend_options": clean.mapping(run.backend_options),
        "seed": run.seed,
        "levels": list(run.levels),
        "asked": list(run.asked),
        "strict": run.strict,
        "started": run.started,
        "ended": run.ended,
        "partial": clean.all(partial),
        "errors": clean.all(errors),
        "notes": clean.all((*run.notes, *events.notes)),
        "pytest_status": run.pytest_status,
        "exit_status": status,
    }


def _clauses(results: Iterable[ClauseResult], catalogue: Catalogue) -> list[dict[str, Any]]:
    return [_clause(result, catalogue) for result in sorted(results, key=lambda result: result.clause)]


def _clause(result: ClauseResult, catalogue: Catalogue) -> dict[str, Any]:
    clause = catalogue[result.clause]
    return {
        **clause_data(clause),
        "standing": result.standing,
        "verdict": None if result.verdict is None else result.verdict.word,
        "engine": result.engine,
        "known": None if result.known is None else result.known.as_data(),
        "cases": [case.as_data() for case in result.cases],
    }


def _known(known: KnownFailures, owned: Iterable[ClauseResult]) -> list[dict[str, Any]]:
    failing = [case for result in owned for case in result.cases if case.broken]
    used = [known.expected(case.clause, case.case) for case in failing]
    return [
        {**entry.as_data(), "expired": known.expired(entry), "used": entry in used}
        for entry in sorted(known.entries, key=_entry_order)
    ]


def _entry_order(entry: KnownFailure) -> tuple[str, str]:
    return entry.clause, entry.case or ""


def _hangs(result: ClauseResult) -> Iterable[dict[str, str]]:
    for case in result.cases:
        if case.verdict is Verdict.HANG:
            column = "engine" if case.engine else result.column
            observed = case.finding.observed if case.finding else case.reason
            yield {"clause": case.clause, "case": case.case, "column": column, "observed": observed}
