"""The event files of a run: one per process, append-only JSON lines, readable after any crash.

`events-<worker>.jsonl` holds, in order: `run` (facts), `collected` (case -> clauses), then per case `started`, one
`outcome` for each of its clauses and a `table` for what it wants shown, and at the end `finished`. Each line is written
at once with one system call, so that only the last line of a killed process can be torn, and is sealed, so that what
the code under test does to the files is told and counts for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from dcp_conformance.harness.certificate.seal import events_digest
from dcp_conformance.harness.certificate.sealed_lines import Reading, SealedLines
from dcp_conformance.harness.certificate.tables import merged
from dcp_conformance.harness.laws.observations import Table
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict


class EventLog:
    """Appends the events of one process to one file. Not for ranks: they report to the process that drives them."""

    def __init__(self, path: str | Path, key: bytes = b"") -> None:
        self.path = Path(path)
        self._lines = SealedLines(self.path, key)

    @classmethod
    def for_worker(cls, folder: str | Path, worker: str = "main", *, key: bytes = b"") -> EventLog:
        """Return the log of `worker` (an xdist worker's id, or `main`) in the folder of the run, which must exist."""
        return cls(_file(Path(folder), worker), key)

    @property
    def last(self) -> str:
        """The seal of the last line, by which a reader knows that none is missing."""
        return self._lines.last

    def run(self, **facts: Any) -> None:
        """Facts of this process as JSON data: the backend's description, versions, seed, devices, options."""
        self._append("run", facts=facts)

    def collected(self, cases: Mapping[str, Sequence[str]]) -> None:
        """Note every collected case with the clauses that it checks, before the first case starts."""
        self._append("collected", cases={case: list(clauses) for case, clauses in cases.items()})

    def started(self, case: str) -> None:
        """Note that a case begins. Without an outcome for each of its clauses, it reads as a harness-error."""
        self._append("started", case=case)

    def outcome(self, outcome: CaseOutcome) -> None:
        """Note what a case showed about one clause."""
        self._append("outcome", outcome=outcome.as_data())

    def table(self, table: Table) -> None:
        """Rows that a case reported; the tables of one title become one."""
        self._append("table", table=table.as_data())

    def finished(self, *, status: int, leftovers: Sequence[str] = ()) -> None:
        """Note that this process ended in order. `leftovers` says what could not be discarded."""
        self._append("finished", status=status, leftovers=list(leftovers))

    def close(self) -> None:
        """Close the file; may be called again."""
        self._lines.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, kind: str, **data: Any) -> None:
        self._lines.append({"kind": kind, "at": round(time.time(), 3), **data})


@dataclass(frozen=True, kw_only=True)
class RunEvents:
    """The event files of one run, merged. Workers are named as in the file names; order is deterministic."""

    facts: Mapping[str, Mapping[str, Any]]
    collected: Mapping[str, tuple[str, ...]]
    started: tuple[str, ...]
    #: With a harness-error for every case that started and did not report on one of its clauses.
    outcomes: tuple[CaseOutcome, ...]
    statuses: Mapping[str, int]
    #: The workers that wrote no `finished`.
    unfinished: tuple[str, ...]
    leftovers: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    #: Sentences about the files themselves.
    errors: tuple[str, ...] = ()
    #: Those of the errors that say that somebody else wrote there.
    foreign: tuple[str, ...] = ()
    #: What was tolerated (a torn last line).
    notes: tuple[str, ...] = ()
    #: Of the files themselves.
    digest: str = ""

    @property
    def never_started(self) -> tuple[str, ...]:
        """Collected cases that neither started nor have any outcome (a skip reported at set-up has one)."""
        seen = {*self.started, *(outcome.case for outcome in self.outcomes)}
        return tuple(case for case in self.collected if case not in seen)


def read_events(folder: str | Path, *, key: bytes = b"", last: Mapping[str, str] | None = None) -> RunEvents:
    """Read and merge every `events-*.jsonl` in `folder`. Missing files give an empty run, never an exception.

    key: of those who wrote them. last: worker -> the seal of its last line, for workers that could tell it.
    """
    merging, place = _Merging(key=key, last=dict(last or {})), Path(folder)
    files = {_file(place, worker) for worker in merging.last} | set(place.glob("events-*.jsonl"))
    for path in sorted(files):
        merging.read(path)
    for path in sorted(set(place.iterdir()) - files if place.is_dir() else ()):
        merging.foreign.append(f"{path.name!r} lies among the event files, and nothing of the judge's is called so.")
    return replace(merging.merged(), digest=events_digest(place))


def _file(folder: Path, worker: str) -> Path:
    return folder / f"events-{worker}.jsonl"


@dataclass
class _Merging:
    """Accumulates lines of all workers; turns what does not fit together into harness-errors."""

    key: bytes
    last: Mapping[str, str]
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    collected: dict[str, tuple[str, ...]] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)
    outcomes: list[CaseOutcome] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    workers: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, path: Path) -> None:
        worker = path.stem.removeprefix("events-")
        self.workers.append(worker)
        reading = Reading(path, self.key)
        for number, event in reading.events():
            try:
                self._take(worker, event)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                self.errors.append(f"{path.name}, line {number}: not an event of this harness ({error!r}).")
        if worker in self.last:
            reading.ends_with(self.last[worker])
        self.foreign += reading.foreign
        self.notes += reading.notes

    def _take(self, worker: str, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "run":
            self.facts[worker] = {**self.facts.get(worker, {}), **event["facts"]}
        elif kind == "collected":
            self._collect(event["cases"])
        elif kind == "started":
            self.started[str(event["case"])] = worker
        elif kind == "outcome":
            self.outcomes.append(CaseOutcome.from_data(event["outcome"]))
        elif kind == "table":
            self.tables.append(Table.from_data(event["table"]))
        elif kind == "finished":
            self.statuses[worker] = int(event["status"])
            self.leftovers += [str(text) for text in event["leftovers"]]
        else:
            raise ValueError(f"unknown kind {kind!r}")

    def _collect(self, cases: Mapping[str, Sequence[str]]) -> None:
        for case, clauses in cases.items():
            if self.collected.setdefault(case, tuple(clauses)) != tuple(clauses):
                self.errors.append(f"case {case}: workers disagree about the clauses that it checks.")

    def merged(self) -> RunEvents:
        outcomes = [self._expected(outcome) for outcome in self.outcomes] + list(self._unended())
        tables, mismatched = merged(self.tables)
        return RunEvents(
            facts=dict(sorted(self.facts.items())),
            collected=dict(sorted(self.collected.items())),
            started=tuple(sorted(self.started)),
            outcomes=tuple(sorted(outcomes, key=lambda outcome: (outcome.clause, outcome.case, outcome.verdict))),
            statuses=dict(sorted(self.statuses.items())),
            unfinished=tuple(worker for worker in self.workers if worker not in self.statuses),
            leftovers=tuple(sorted(self.leftovers)),
            tables=tables,
            errors=(*self.errors, *mismatched, *self.foreign),
            foreign=tuple(self.foreign),
            notes=tuple(self.notes),
        )

    def _expected(self, outcome: CaseOutcome) -> CaseOutcome:
        """Return the outcome itself, or a harness-error in its place where no such case was ever collected."""
        clauses = self.collected.get(outcome.case)
        if clauses is not None and outcome.clause in clauses:
            return outcome
        what = "was never collected" if clauses is None else f"was not collected for {outcome.clause}"
        return replace(
            outcome,
            verdict=Verdict.HARNESS_ERROR,
            reason=f"The case {what}, yet it reported {outcome.verdict.word}: a defect of the harness.",
        )

    def _unended(self) -> Iterator[CaseOutcome]:
        reported = {(outcome.clause, outcome.case) for outcome in self.outcomes}
        for case, worker in self.started.items():
            if case not in self.collected:
                self.errors.append(f"case {case}: started by {worker}, but never collected.")
            for clause in self.collected.get(case, ()):
                if (clause, case) not in reported:
                    yield CaseOutcome(
                        clause=clause,
                        case=case,
                        verdict=Verdict.HARNESS_ERROR,
                        reason=f"The case started in worker {worker} and never ended for {clause}: "
                        "the process was stopped or crashed, or the harness lost the outcome.",
                    )
