"""From a case to a verdict for each of its clauses: trials, evidence of use, and whose fault it was. No pytest."""

from __future__ import annotations

import itertools
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dcp_conformance.harness.cluster import Returned
from dcp_conformance.harness.cluster.errors import ServerLost
from dcp_conformance.harness.contract import FUNCTIONS, Clause
from dcp_conformance.harness.laws.observations import Table
from dcp_conformance.harness.laws.verbs import Broken, NotApplicable, Untestable
from dcp_conformance.harness.subject.spec import TORCH_ENGINE, Part, SubjectSpec
from dcp_conformance.harness.subject.subject import RunOnRanks, Subject
from dcp_conformance.harness.verdicts.blame import decide, delegating, known_of_torch, once_only, own_functions
from dcp_conformance.harness.verdicts.budget import LEAST_PER_HANG, Budget
from dcp_conformance.harness.verdicts.known_failures import KnownFailures
from dcp_conformance.harness.verdicts.ownership import Applicability
from dcp_conformance.harness.verdicts.texts import speakable_outcome
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Finding, Verdict

CONTROL = Part(reference="dcp_conformance.harness.control")
TORCH = Part(reference=TORCH_ENGINE)
STORAGE_IN_THE_WAY = (
    "The control pair keeps the promise under the same engine, so the failure is not the engine's: something in the "
    "storage stands in the way, and the clause, which is not the storage's, cannot be judged with it."
)
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


@dataclass
class Judge:
    """Judges cases on a bench; keeps count of the time that the backend cost and of places below the scratch folder."""

    bench: Bench
    ranks: RunOnRanks
    # What the author knows to be broken costs no other clause its check.
    known: KnownFailures = field(default_factory=KnownFailures)
    # What torch's own engine and storage are known to break, under whatever name it shows.
    torchs: KnownFailures = field(default_factory=KnownFailures)
    # What the case at hand reported for the certificate; not what its further trials of other pairs did.
    tables: tuple[Table, ...] = ()
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

    def judge(
        self, case: str, clauses: Mapping[Clause, Applicability], body: Body, *, below_storage: bool = False
    ) -> list[CaseOutcome]:
        """Return the outcome of `case` for each clause.

        below_storage: its faults act below the storage API, which no engine can be blamed for.
        """
        self.tables = ()
        # A case whose clauses all do not apply is not run at all: what it would do may be what the backend opted out
        # of.
        asked = {clause: applies for clause, applies in clauses.items() if applies.kind != "not-applicable"}
        outcomes = [
            outcome(clause, case, Verdict.NOT_APPLICABLE, applies.reason)
            for clause, applies in clauses.items()
            if clause not in asked
        ]
        self._levels = tuple(sorted({clause.level for clause in asked}))
        if asked:
            self._began, self._hung = time.monotonic(), False
            owned = any(applies.kind == "owned" for applies in asked.values())
            self._budget = self._budgets["owned" if owned else "engine"]
            # They belong to one case: what its trials stored is discarded at its end.
            self._further.clear()
            # The body also judges what does not apply; those findings are left alone.
            trial = self._first_trial(tuple(clause.id for clause in clauses), body)
            self.tables = trial.tables
            outcomes += [self._verdict(case, clause, clauses, trial, body, below_storage) for clause in asked]
            # After the verdicts, since their further trials make checkpoints too; before the charge, since its time
            # counts.
            self._discard()
            self._charge(trial, outcomes, time.monotonic() - self._began)
        return [speakable_outcome(item) for item in outcomes]

    def spec(self, *, storage: Part | None = None, engine: Part | None = None) -> SubjectSpec:
        """Return what a rank needs for a trial, in a place of its own; storage, engine: in the place of the bench's."""
        bench = self.bench
        return SubjectSpec(
            under_test=bench.backend.reference, storage=storage or bench.backend, engine=engine or bench.engine,
            scratch=bench.scratch, place=f"{bench.worker}-{next(self._places):05d}", folder=bench.folder,
        )  # fmt: skip

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

    def _charge(self, trial: Trial, outcomes: list[CaseOutcome], seconds: float) -> None:
        # A hang that is listed as known happens in every run, and must not use up the time of the other clauses.
        unknown = [item for item in outcomes if self.known.expected(item.clause, item.case) is None]
        self._budget.charge_hang(self._levels, trial.hung, _lost_to_hangs(trial, unknown, seconds))
        if any(item.verdict > Verdict.PASS for item in outcomes):
            self._budget.charge(seconds)

    def _refusal(self, world_size: int, subject: Subject) -> str:
        """Say why this trial's scenario is not run on so many ranks; earlier trials of the case may have hung too."""
        self._hung = self._hung or bool(subject.hung)
        within = self._budget.refusal_within(time.monotonic() - self._began) if self._hung else ""
        return within or self._budget.refusal(self._levels, world_size)

    def _first_trial(self, clauses: tuple[str, ...], body: Body) -> Trial:
        """Return the trial that a verdict begins with.

        Who ends the process that ranks are forked from, each time, broke it.

        Once may be somebody on this machine, or one that ran out of memory.
        """
        trial = self._trial(clauses, body, self.spec())
        if not isinstance(trial.fault, ServerLost):
            return trial
        trial = self._trial(clauses, body, self.spec())
        if not isinstance(trial.fault, ServerLost):
            return trial
        said = f"each time its code ran, {str(trial.fault).splitlines()[0]}"
        broken: dict[str, Exception] = {clause: Broken(said, kind="server", rank=0) for clause in clauses}
        return replace(trial, fault=None, findings=broken)

    def _trial(self, clauses: tuple[str, ...], body: Body, spec: SubjectSpec) -> Trial:
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

    def _verdict(
        self,
        case: str,
        clause: Clause,
        asked: Mapping[Clause, Applicability],
        trial: Trial,
        body: Body,
        below_storage: bool,
    ) -> CaseOutcome:
        base = CaseOutcome(
            clause=clause.id, case=case, verdict=Verdict.PASS, blame=None, reason="", finding=None,
            seconds=trial.seconds, notes=trial.leftovers, used=tuple(sorted(trial.used)),
        )  # fmt: skip
        # Before all else: a trial in which the harness failed says nothing about anybody, in either direction.
        if trial.fault is not None:
            return replace(base, verdict=Verdict.HARNESS_ERROR, reason=f"{type(trial.fault).__name__}: {trial.fault}")
        found = trial.findings.get(clause.id)
        if isinstance(found, Untestable):
            return replace(base, verdict=Verdict.UNTESTABLE, reason=str(found))
        if isinstance(found, NotApplicable):
            return replace(base, verdict=Verdict.NOT_APPLICABLE, reason=str(found))
        if isinstance(found, Broken):
            return self._failed(base, clause, asked, trial, found, body, below_storage)
        # Only a pass needs evidence of use: torch quietly uses its own storage where the one it is given counts as
        # false.
        if not self._in_use(clause, asked[clause], trial):
            reason = "the scenario never reached the backend's own code, so its outcome proves nothing"
            return replace(base, verdict=Verdict.UNTESTABLE, reason=reason)
        return base

    def _in_use(self, clause: Clause, applies: Applicability, trial: Trial) -> bool:
        if applies.kind == "engine":
            return "S" in trial.used
        letters = applies.letters or clause.applies & self.bench.letters
        # A format is used through the storage that writes it; no call is announced for it alone.
        bound = {"S" if letter == "F" else letter for letter in letters}
        # A store inside an engine shows no calls of its own: a call of the engine is all the use that can be seen.
        return bool(bound & trial.used) or (self.bench.own_store and "E" in trial.used)

    def _failed(
        self,
        base: CaseOutcome,
        clause: Clause,
        asked: Mapping[Clause, Applicability],
        trial: Trial,
        found: Broken,
        body: Body,
        below_storage: bool,
    ) -> CaseOutcome:
        """Return the first of a case's findings of the clause that is the backend's; none: the first of them."""
        outcomes = (
            self._if_known(self._failed_with(base, clause, asked, trial, item, item.witness or body, below_storage))
            for item in (found, *found.others)
        )
        # Lazily, since each further finding may cost further trials: the search ends with the first that is the
        # backend's.
        first = next(outcomes)
        return first if first.blame == "backend" else next((o for o in outcomes if o.blame == "backend"), first)

    def _if_known(self, failed: CaseOutcome) -> CaseOutcome:
        """With a sentence more where torch is blamed for what it is known to break."""
        entry = self.torchs.expected(failed.clause, failed.case) if failed.blame == "engine" else None
        if entry is None:
            return failed
        said = known_of_torch(entry.reason, entry.defect)
        return replace(failed, reason=f"{failed.reason} {said}".strip())

    def _failed_with(
        self,
        base: CaseOutcome,
        clause: Clause,
        asked: Mapping[Clause, Applicability],
        trial: Trial,
        found: Broken,
        body: Body,
        below_storage: bool,
    ) -> CaseOutcome:
        finding = Finding(
            observed=found.observed, kind=found.kind, rank=found.rank, evidence=found.evidence,
            reproduce=self._reproduction(clause, base.case),
        )  # fmt: skip
        verdict = Verdict.HANG if found.kind == "hang" else Verdict.FAIL
        failed = replace(base, verdict=verdict, blame="backend", finding=finding)
        ids = tuple(item.id for item in asked)
        if found.kind == "server":
            return failed  # no engine ends it, and each further trial would cost a new one
        if asked[clause].kind == "engine":
            return self._engines(failed, trial, ids, body)
        # Who exports both save and load is judged as one thing: there is no engine left to put it on. Below the storage
        # interface no engine takes part.
        if not self._exports_whole_engine and clause.applies & {"S", "F"} and not below_storage:
            return self._blamed(failed, trial, ids, body)
        if trial.torchs and clause.applies & {"E", "P"}:
            return self._delegated(failed, clause, trial, ids, found, body)
        return failed

    @property
    def _exports_whole_engine(self) -> bool:
        return "E" in self.bench.letters and {"save", "load"} <= self.bench.functions

    def _engines(self, failed: CaseOutcome, trial: Trial, ids: tuple[str, ...], body: Body) -> CaseOutcome:
        """Settle a clause of the engine under the backend: it is torch's only where torch alone can break it.

        Wrong values that the backend's own storage gives under two engines, and the control pair under none, are the
        storage's, whoever owns the clause.
        """
        if "S" not in self.bench.letters or _broke(
            self._again(ids, body, storage=CONTROL, engine=TORCH), failed.clause
        ):
            return replace(failed, blame="engine")
        # Only here, since it costs a trial: the control pair has answered the common case above.
        under_second = self._under_second(failed, ids, body)
        if under_second is False:
            return replace(failed, blame="engine")
        values = failed.finding is not None and failed.finding.kind == "values" and trial.moved
        if under_second and values:
            return replace(failed, blame="backend", reason=decide(control_failed=False, second_failed=True).sentence)
        return replace(failed, verdict=Verdict.UNTESTABLE, blame=None, reason=STORAGE_IN_THE_WAY)

    def _blamed(self, failed: CaseOutcome, trial: Trial, ids: tuple[str, ...], body: Body) -> CaseOutcome:
        """Make the further runs of docs/blame.md: control pair, backend under a second engine, first pair again.

        Where functions of the backend's own took part, torch's in their place come before: what these do not break
        is theirs.
        """
        # None, a trial that could not be made, counts as not broken: the doubt stays with the backend's own functions.
        if "E" in trial.used and not _broke(self._again(ids, body, engine=TORCH), failed.clause):
            return replace(failed, reason=own_functions(sorted(self.bench.functions)).sentence)
        wrong_values = failed.finding is not None and failed.finding.kind == "values" and trial.moved
        control = _broke(self._again(ids, body, storage=CONTROL, engine=TORCH), failed.clause)
        second = self._under_second(failed, ids, body)
        blame = decide(control_failed=control, second_failed=second, wrong_values=wrong_values)
        # What hangs on what went before does not come again in trials that start afresh: no engine is blamed for it.
        if blame.blame == "engine" and trial.used and _broke(self._again(ids, body), failed.clause) is False:
            blame = once_only()
        verdict = failed.verdict if blame.verdict is Verdict.FAIL else blame.verdict
        return replace(failed, verdict=verdict, blame=blame.blame, reason=blame.sentence)

    def _again(
        self, ids: tuple[str, ...], body: Body, *, storage: Part | None = None, engine: Part | None = None
    ) -> Trial:
        """Run the same case with another storage or engine, once for all clauses of the case."""
        key = (storage, engine, body)
        if key not in self._further:
            self._further[key] = self._trial(ids, body, self.spec(storage=storage, engine=engine))
        return self._further[key]

    def _under_second(self, failed: CaseOutcome, ids: tuple[str, ...], body: Body) -> bool | None:
        """Tell whether the backend's storage breaks the clause under the second engine too.

        None if that is not known.
        """
        if self.bench.second is None:
            return None
        return _broke(self._again(ids, body, engine=self.bench.second), failed.clause)

    def _delegated(
        self, failed: CaseOutcome, clause: Clause, trial: Trial, ids: tuple[str, ...], found: Broken, body: Body
    ) -> CaseOutcome:
        """Settle a failure of an engine that enters torch's: what torch's does alike with control is torch's."""
        control = self._again(ids, body, storage=CONTROL, engine=TORCH)
        same = control.findings.get(failed.clause)
        # Of the same kind: a hang under the backend is not excused by a wrong value under torch.
        if not (isinstance(same, Broken) and same.kind == found.kind):
            return replace(failed, reason=delegating(control_failed=False, parts=sorted(trial.torchs)).sentence)
        # The storage is the backend's as well: torch's engine takes the blame only where the storage is seen to keep
        # the promise without it.
        if "S" in clause.applies and self._under_second(failed, ids, body) is not False:
            return failed
        blame = delegating(control_failed=True, parts=sorted(trial.torchs))
        return replace(failed, blame="engine", reason=blame.sentence)

    def _reproduction(self, clause: Clause, case: str) -> str:
        return shlex.join([*self.bench.command, "--clause", clause.id, "--case", case])


def _lost_to_hangs(trial: Trial, outcomes: list[CaseOutcome], seconds: float) -> float:
    """Seconds of a case that a hang cost the backend.

    A rank that a passing case stopped by itself has cost what it should, and a hang of the engine's is not its hang.
    """
    verdicts = {item.verdict for item in outcomes if not item.engine}
    if Verdict.HANG in verdicts:
        return max(seconds, LEAST_PER_HANG)
    return seconds if trial.hung and Verdict.UNTESTABLE in verdicts else 0.0


def outcome(clause: Clause, case: str, verdict: Verdict, reason: str) -> CaseOutcome:
    """Return the outcome of a case that was not run."""
    return CaseOutcome(
        clause=clause.id, case=case, verdict=verdict, blame=None, reason=reason, finding=None,
        seconds=0.0, notes=(), used=(),
    )  # fmt: skip


def _used(calls: list[Mapping[str, Any]]) -> frozenset[str]:
    own = [call for call in calls if call["owner"] == "backend"]
    return frozenset(
        str(call["part"]) for call in own if call["part"] != "S" or call["name"] in STORAGE_USE or call.get("direct")
    )  # fmt: skip


def _moved(calls: list[Mapping[str, Any]]) -> bool:
    """Tell whether the backend's own code wrote data and read data."""
    return {"write_data", "read_data"} <= {call["name"] for call in calls if call["owner"] == "backend"}


def _broke(trial: Trial, clause: str) -> bool | None:
    """Tell whether a trial broke the clause; None when it could not be made."""
    found = trial.findings.get(clause)
    if trial.fault is not None or isinstance(found, Untestable | NotApplicable):
        return None
    return isinstance(found, Broken)
