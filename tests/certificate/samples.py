"""Small clauses, outcomes and whole runs for the tests of harness.certificate. Every field has a dull default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dcp_conformance.harness.certificate.build import RunInfo, build
from dcp_conformance.harness.certificate.events import RunEvents
from dcp_conformance.harness.contract import Catalogue, Clause, Strength
from dcp_conformance.harness.laws.observations import Table
from dcp_conformance.harness.states import checklist
from dcp_conformance.harness.verdicts.known_failures import KnownFailure, KnownFailures
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Finding, Verdict

NOTHING_KNOWN = KnownFailures()


@dataclass(frozen=True, kw_only=True)
class Description:
    name: str = "mypkg"
    reference: str = "mypkg.storage:Writer,Reader"
    version: str = "1.2"
    location: str = "mypkg/storage.py"
    commit: str = "0123abcd with changes"
    digest: str = "sha256:00"
    letters: tuple[str, ...] = ("S", "F")
    unsupported: Mapping[str, str] = field(default_factory=dict)
    offers: tuple[str, ...] = ()
    exports: tuple[str, ...] = ()
    inherits: tuple[str, ...] = ()
    torch: str = "2.13.0"
    patience: float = 1.0
    functions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def clause(id: str = "FIN-01", strength: str = "MUST", applies: str = "S", level: str = "core", **more: Any) -> Clause:
    fields = {"world": 1, "promise": f"The promise of {id} is kept.", "source": "storage.py", **more}
    return Clause(id=id, strength=Strength[strength], applies=frozenset(applies), level=level, **fields)


def outcome(clause_id: str = "FIN-01", verdict: str = "pass", case: str = "", **more: Any) -> CaseOutcome:
    fields = dict(more)
    if verdict in ("fail", "hang"):
        fields = {"blame": "backend", "finding": Finding(observed=f"{clause_id} was seen broken."), **more}
    elif verdict == "pass":
        fields = {"used": ("S",), **more}
    else:
        fields = {"reason": "as the sample says", **more}
    return CaseOutcome(
        clause=clause_id, case=case or f"{clause_id.lower()} case", verdict=Verdict.of(verdict), seconds=0.25, **fields
    )


def known(clause_id: str = "FIN-01", case: str | None = None, **more: Any) -> KnownFailure:
    return KnownFailure(
        clause=clause_id, case=case, **{"reason": "no rename", "where": "known.toml:1, entry 1", **more}
    )


def entries(*listed: KnownFailure, **more: Any) -> KnownFailures:
    return KnownFailures(entries=listed, **more)


def run_events(outcomes: Iterable[CaseOutcome], **more: Any) -> RunEvents:
    """The events of a run that went well: every case collected, started and ended."""
    ended = tuple(outcomes)
    collected: dict[str, tuple[str, ...]] = {}
    for item in ended:
        collected[item.case] = (*collected.get(item.case, ()), item.clause)
    whole = RunEvents(
        facts={},
        collected=collected,
        started=tuple(collected),
        outcomes=ended,
        statuses={"main": 0},
        unfinished=(),
        leftovers=(),
    )
    return replace(whole, **more)


def run_info(**more: Any) -> RunInfo:
    fields = {
        "suite_version": "0.1.0",
        "python": "3.11.9",
        "machine": {"platform": "Linux x86_64", "cpus": 2, "memory_bytes": 8 << 30, "kernel": "6.1"},
        "scratch_file_system": "ext4",
        "world_sizes": (1, 2, 4),
        "started": "2026-11-22T10:00:00+00:00",
        "ended": "2026-11-22T10:03:00+00:00",
        "levels": ("core",),
        **more,
    }
    return RunInfo(**{"checklist": checklist.as_data(), **fields})


def certificate(
    clauses: Iterable[Clause],
    outcomes: Iterable[CaseOutcome],
    *,
    description: Description | None = None,
    listed: KnownFailures | None = None,
    events: RunEvents | None = None,
    **run: Any,
) -> dict[str, Any]:
    made = events or run_events(outcomes)
    return build(made, Catalogue(clauses), description or Description(), run_info(**run), listed)


def eventful() -> dict[str, Any]:
    """The certificate of a run in which everything happened that a report has words for."""
    clauses = [
        clause("API-05", applies="E"),
        clause("API-10"),
        clause("API-11", "MAY", excluded="an allowed freedom"),
        clause("EXT-01", capabilities=("extensions",)),
        clause("FIN-01", promise="A checkpoint is visible only after finish has returned on the coordinator."),
        clause("FIN-07", promise="A save onto a committed checkpoint fails on every rank and keeps the old one."),
        clause("WRITE-02", "SHOULD", promise="A writer streams tensors one at a time."),
        clause("WRITE-05"),
        clause("WRITE-06"),
        clause("RMD-01", applies="ES"),
        clause("CORR-01", level="durability"),
        clause("DUR-01", level="durability"),
        clause("DUR-04", level="durability", capabilities=("crash_safe_overwrite",)),
        clause("FAIL-01", level="failure", applies="E"),
        clause("FAIL-02", level="failure"),
        clause("FAIL-03", level="failure"),
        clause("SHARD-01", level="distributed", world=2),
        clause("ASYNC-01", level="asynchronous"),
    ]
    wrong = Finding(
        observed="element (2, 3) of layer.0.weight is 0.0, saved was 1.5.",
        kind="wrong-value",
        rank=1,
        evidence={"key": "layer.0.weight", "traceback": "Traceback (most recent call last):\n  File x\nValueError: no"},
        reproduce="dcp-conformance mypkg --clause FIN-01 --case 'fin-01 [overwrite, 2 ranks, passed style]'",
    )
    stuck = Finding(observed="no rank answered for 15 s; rank 0 waits in write_data.", kind="hang", reproduce="again")
    outcomes = [
        outcome("API-05", "fail", blame="engine", reason="torch's engine picks its own writer."),
        outcome("API-10"),
        outcome("FIN-01", "fail", case="fin-01 [overwrite, 2 ranks, passed style]", finding=wrong, notes=("left: a",)),
        outcome("FIN-01", "fail", case="fin-01 [zz]"),
        outcome("FIN-01", case="fin-01 [fresh]"),
        outcome("FIN-07", "fail"),
        outcome("WRITE-02", "fail"),
        outcome("WRITE-05", "hang", finding=stuck),
        outcome("WRITE-06", "harness-error", reason="The case never ended."),
        outcome("RMD-01", "fail", blame="engine", reason="The control pair fails too."),
        outcome("CORR-01"),
        outcome("DUR-01", "untestable", reason="the fault was not reached"),
        outcome("DUR-04", "not-applicable", reason="opted out"),
        outcome("FAIL-01"),
        outcome("FAIL-02"),
        outcome("FAIL-03"),
        outcome("SHARD-01", "fail"),
    ]
    return certificate(
        clauses,
        outcomes,
        description=Description(
            unsupported={"crash_safe_overwrite": "objects are replaced in place"},
            inherits=("writer.prepare_local_plan",),
            patience=2.0,
        ),
        events=run_events(
            outcomes,
            leftovers=("the prefix s3://bucket/run-1/",),
            tables=(
                Table(
                    title="States after a power cut",
                    columns=("save", "states", "worst load"),
                    rows=(("fresh", 152, "an error"), ("overwrite", 65, "the old checkpoint")),
                ),
            ),
        ),
        listed=entries(known("FIN-07", defect="mypkg#12"), known("SHARD-01", reason="one rank only for now")),
        levels=("core", "distributed", "failure", "asynchronous", "durability"),
        asked=("durability",),
        errors=("known.toml:9, entry 3: there is no clause FIN-70. Did you mean FIN-07?",),
        pytest_status=1,
        command="dcp-conformance mypkg",
    )
