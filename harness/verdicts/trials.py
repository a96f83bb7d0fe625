"""Trials: the body of a case run under one pair of storage and engine, what that cost, and what it left behind."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dcp_conformance.harness.cluster import Returned
from dcp_conformance.harness.cluster.errors import ServerLost
from dcp_conformance.harness.contract import FUNCTIONS
from dcp_conformance.harness.laws.observations import Table
from dcp_conformance.harness.laws.verbs import Broken, NotApplicable, Untestable
from dcp_conformance.harness.subject.spec import TORCH_ENGINE, Part, SubjectSpec
from dcp_conformance.harness.subject.subject import RunOnRanks, Subject
from dcp_conformance.harness.verdicts.budget import LEAST_PER_HANG, Budget
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict

CONTROL = Part(reference="dcp_conformance.harness.control")
TORCH = Part(reference=TORCH_ENGINE)
# The calls that prove that the storage itself was at work; others (reset, set_up) a stand-in could answer too.
STORAGE_USE = frozenset({"write_data", "read_data", "read_metadata", "finish", "blobs"})
Body = Callable[[Subject], None]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What stays the same for all cases of a run: what is under test, under which engines, where."""

    backend: Part
    #: What the backend owns.
    letters: frozenset[str]
    engine: Part
    #: It stores by itself, where only calls of its engine are seen.
    own_store: bool = False
    #: Which of save, load and async_save it exports.
    functions: frozenset[str] = frozenset(FUNCTIONS)
    #: The engine for blame; None if there is none.
    second: Part | None
    scratch: str
    folder: str
    worker: str
    #: The words that start a reproduction line.
    command: tuple[str, ...]
    patience: float = 1.0
    keep: bool = False  # what was stored is to stay


@dataclass
class Trial:
    """One run of a case's body under one pair of storage and engine."""

    findings: dict[str, Exception]
    used: frozenset[str]
    moved: bool  # the backend's own storage wrote data and read data
    torchs: frozenset[str]  # parts of torch's engine that took part under the backend's own functions
    leftovers: tuple[str, ...]
    tables: tuple[Table, ...]
    seconds: float
    hung: frozenset[int]  # sizes of the worlds in which a rank hung
    fault: Exception | None = None

    def broke(self, clause: str) -> bool | None:
        """Tell whether it broke the clause; None when it could not be made."""
        found = self.findings.get(clause)
        if self.fault is not None or isinstance(found, Untestable | NotApplicable):
            return None
        return isinstance(found, Broken)


@dataclass
class Trials:
    """Makes the trials of one case after the other; keeps count of the time that the backend cost, and of places."""

    bench: Bench
    ranks: RunOnRanks
    # Checkpoints outside of the scratch folder that nobody could discard, in sentences.
    left: list[str] = field(default_factory=list)
    _ids: list[str] = field(default_factory=list)
    _places: itertools.count[int] = field(default_factory=itertools.count)
    # The further trials of the case at hand: made once, however many of its clauses are to be blamed for.
    _further: dict[tuple[Part | None, Part | None, Body], Trial] = field(default_factory=dict)
    _levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # What an engine under the backend costs must not leave the backend's own clauses unjudged.
        self._budgets = {kind: Budget(self.bench.patience) for kind in ("owned", "engine")}
        self._budget = self._budgets["owned"]
        self._began, self._hung = 0.0, False

    def begin(self, levels: tuple[str, ...], *, owned: bool) -> None:
        """Begin a case: it costs the levels of its clauses, and the backend if any of them is its own."""
        self._levels = levels
        self._began, self._hung = time.monotonic(), False
        self._budget = self._budgets["owned" if owned else "engine"]
        # They belong to one case: what its trials stored is discarded at its end.
        self._further.clear()

    def first(self, clauses: tuple[str, ...], body: Body) -> Trial:
        """Return the trial that a verdict begins with.

        Who ends the process that ranks are forked from, each time, broke it.

        Once may be somebody on this machine, or one that ran out of memory.
        """
        trial = self._made(clauses, body, self.spec())
        if not isinstance(trial.fault, ServerLost):
            return trial
        trial = self._made(clauses, body, self.spec())
        if not isinstance(trial.fault, ServerLost):
            return trial
        said = f"each time its code ran, {str(trial.fault).splitlines()[0]}"
        broken: dict[str, Exception] = {clause: Broken(said, kind="server", rank=0) for clause in clauses}
        return replace(trial, fault=None, findings=broken)

    def again(
        self, clauses: tuple[str, ...], body: Body, *, storage: Part | None = None, engine: Part | None = None
    ) -> Trial:
        """Run the same case with another storage or engine, once for all clauses of the case."""
        key = (storage, engine, body)
        if key not in self._further:
            self._further[key] = self._made(clauses, body, self.spec(storage=storage, engine=engine))
        return self._further[key]

    def end(self, trial: Trial, outcomes: list[CaseOutcome], unknown: list[CaseOutcome]) -> None:
        """End a case: discard what it stored elsewhere, and charge what its first trial cost.

        Args:
            trial: Its first.
            outcomes: What its clauses came to.
            unknown: Those of them that are not known to fail: a hang that happens in every run must not use up the
                time of the other clauses.
        """
        # The discard before the charge, since its time counts.
        self._discard()
        seconds = time.monotonic() - self._began
        self._budget.charge_hang(self._levels, trial.hung, _lost_to_hangs(trial, unknown, seconds))
        if any(item.verdict > Verdict.PASS for item in outcomes):
            self._budget.charge(seconds)

    def spec(self, *, storage: Part | None = None, engine: Part | None = None) -> SubjectSpec:
        """Return what a rank needs for a trial, in a place of its own; storage, engine: in the place of the bench's."""
        bench = self.bench
        return SubjectSpec(
            under_test=bench.backend.reference, storage=storage or bench.backend, engine=engine or bench.engine,
            scratch=bench.scratch, place=f"{bench.worker}-{next(self._places):05d}", folder=bench.folder,
        )  # fmt: skip

    def _made(self, clauses: tuple[str, ...], body: Body, spec: SubjectSpec) -> Trial:
        subject, began, fault = Subject(self.ranks, spec, clauses), time.monotonic(), None
        # Asked before each run of a scenario, so a case that hangs in its first is not run ten times more.
        subject.refusal = lambda world_size: self._refusal(world_size, subject)
        try:
            body(subject)
            subject.settle(None)
        except (Broken, Untestable, NotApplicable) as finding:
            subject.settle(finding)
        except Exception as error:  # whatever else a test raises is the harness's own fault, and is reported as such
            fault = error
        self._hung = self._hung or bool(subject.hung)
        calls = [event.data for event in subject.events if event.kind == "call"]
        self._ids += [str(event.data["id"]) for event in subject.events if event.kind == "id"]
        return Trial(
            findings=subject.findings, used=_used(calls), moved=_moved(calls),
            torchs=frozenset(str(call["name"]) for call in calls if call["owner"] == "delegated"),
            leftovers=tuple(dict.fromkeys(subject.leftovers)), tables=tuple(subject.tables),
            seconds=time.monotonic() - began, hung=frozenset(subject.hung), fault=fault,
        )  # fmt: skip

    def _refusal(self, world_size: int, subject: Subject) -> str:
        """Say why this trial's scenario is not run on so many ranks; earlier trials of the case may have hung too."""
        self._hung = self._hung or bool(subject.hung)
        within = self._budget.refusal_within(time.monotonic() - self._began) if self._hung else ""
        return within or self._budget.refusal(self._levels, world_size)

    def _discard(self) -> None:
        """Have the backend take away what the case at hand stored elsewhere; the scratch folder goes as a whole."""
        # An id may be announced by every rank: each once, in the order in which they were made.
        outside = [name for name in dict.fromkeys(self._ids) if not name.startswith(self.bench.scratch)]
        self._ids.clear()
        if not outside:
            return
        if self.bench.keep:
            self.left += [f"{name} was kept, as --keep-scratch asks" for name in outside]
            return
        function = "dcp_conformance.harness.subject.session:discard"
        try:
            [outcome] = self.ranks.run(1, function, self.spec(), tuple(outside))
        except ServerLost as error:
            self.left += [f"{name} was left behind: {error}" for name in outside]
            return
        if isinstance(outcome, Returned):
            self.left += outcome.value
        else:
            self.left += [f"{name} was left behind: its discard ended with {outcome}" for name in outside]


def _lost_to_hangs(trial: Trial, outcomes: list[CaseOutcome], seconds: float) -> float:
    """Seconds of a case that a hang cost the backend.

    A rank that a passing case stopped by itself has cost what it should, and a hang of the engine's is not its hang.
    """
    verdicts = {item.verdict for item in outcomes if not item.engine}
    if Verdict.HANG in verdicts:
        return max(seconds, LEAST_PER_HANG)
    return seconds if trial.hung and Verdict.UNTESTABLE in verdicts else 0.0


def _used(calls: list[Mapping[str, Any]]) -> frozenset[str]:
    own = [call for call in calls if call["owner"] == "backend"]
    return frozenset(
        str(call["part"]) for call in own if call["part"] != "S" or call["name"] in STORAGE_USE or call.get("direct")
    )  # fmt: skip


def _moved(calls: list[Mapping[str, Any]]) -> bool:
    """Tell whether the backend's own code wrote data and read data."""
    return {"write_data", "read_data"} <= {call["name"] for call in calls if call["owner"] == "backend"}
