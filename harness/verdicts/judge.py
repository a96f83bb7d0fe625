"""From a case to a verdict for each of its clauses: trials, evidence of use, and whose fault it was. No pytest."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dcp_conformance.harness.contract import Clause
from dcp_conformance.harness.laws.observations import Table
from dcp_conformance.harness.laws.verbs import Broken, NotApplicable, Untestable
from dcp_conformance.harness.subject.subject import RunOnRanks
from dcp_conformance.harness.verdicts.blame import known_of_torch
from dcp_conformance.harness.verdicts.blaming import Blaming, Failure
from dcp_conformance.harness.verdicts.known_failures import KnownFailures
from dcp_conformance.harness.verdicts.ownership import Applicability
from dcp_conformance.harness.verdicts.texts import speakable_outcome
from dcp_conformance.harness.verdicts.trials import Bench, Body, Trial, Trials
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Finding, Verdict

NOT_IN_USE = "the scenario never reached the backend's own code, so its outcome proves nothing"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A test with its parameters: what it is called, what it checks, and what it does."""

    name: str
    #: Those that do not apply too: the body judges them as well, and those findings are left alone.
    clauses: Mapping[Clause, Applicability]
    body: Body
    #: Its faults act below the storage interface, where no engine can be blamed for them.
    below_storage: bool

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of its clauses."""
        return tuple(clause.id for clause in self.clauses)

    @property
    def asked(self) -> list[Clause]:
        """The clauses that bind somebody here."""
        return [clause for clause, applies in self.clauses.items() if applies.kind != "not-applicable"]


@dataclass
class Judge:
    """Judges cases on a bench."""

    bench: Bench
    ranks: RunOnRanks
    # What the author knows to be broken costs no other clause its check.
    known: KnownFailures = field(default_factory=KnownFailures)
    # What torch's own engine and storage are known to break, under whatever name it shows.
    torchs: KnownFailures = field(default_factory=KnownFailures)
    # What the case at hand reported for the certificate; not what its further trials of other pairs did.
    tables: tuple[Table, ...] = ()

    def __post_init__(self) -> None:
        self.trials = Trials(self.bench, self.ranks)
        self._blaming = Blaming(self.trials)

    def judge(
        self, name: str, clauses: Mapping[Clause, Applicability], body: Body, *, below_storage: bool = False
    ) -> list[CaseOutcome]:
        """Return the outcome of the case `name` for each clause.

        below_storage: its faults act below the storage API, which no engine can be blamed for.
        """
        self.tables = ()
        case = Case(name=name, clauses=clauses, body=body, below_storage=below_storage)
        outcomes = [
            outcome(clause, name, Verdict.NOT_APPLICABLE, applies.reason)
            for clause, applies in clauses.items()
            if clause not in case.asked
        ]
        # A case whose clauses all do not apply is not run at all: it may do what the backend opted out of.
        if case.asked:
            outcomes += self._judged(case, outcomes)
        return [speakable_outcome(item) for item in outcomes]

    def _judged(self, case: Case, others: list[CaseOutcome]) -> list[CaseOutcome]:
        owned = any(applies.kind == "owned" for applies in case.clauses.values())
        self.trials.begin(tuple(sorted({clause.level for clause in case.asked})), owned=owned)
        trial = self.trials.first(case.ids, case.body)
        self.tables = trial.tables
        judged = [self._verdict(case, clause, trial) for clause in case.asked]
        # After the verdicts, since their further trials make checkpoints too.
        unknown = [item for item in (*others, *judged) if self.known.expected(item.clause, item.case) is None]
        self.trials.end(trial, judged, unknown)
        return judged

    def _verdict(self, case: Case, clause: Clause, trial: Trial) -> CaseOutcome:
        base = CaseOutcome(
            clause=clause.id, case=case.name, verdict=Verdict.PASS, blame=None, reason="", finding=None,
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
        in_use = self._in_use(clause, case.clauses[clause], trial)
        # A planner or utility that was never called has broken nothing.
        if isinstance(found, Broken) and (in_use or not clause.applies <= {"P", "U"}):
            return self._failed(base, case, clause, trial, found)
        # Nor does a pass prove anything then: torch quietly uses its own storage where the one it is given counts as
        # false.
        if not in_use:
            return replace(base, verdict=Verdict.UNTESTABLE, reason=NOT_IN_USE)
        return base

    def _in_use(self, clause: Clause, applies: Applicability, trial: Trial) -> bool:
        if applies.kind == "engine":
            return "S" in trial.used
        letters = applies.letters or clause.applies & self.bench.letters
        # A format is used through the storage that writes it; no call is announced for it alone.
        bound = {"S" if letter == "F" else letter for letter in letters}
        # A store inside an engine shows no calls of its own: a call of the engine is all the use that can be seen.
        return bool(bound & trial.used) or (self.bench.own_store and "E" in trial.used)

    def _failed(self, base: CaseOutcome, case: Case, clause: Clause, trial: Trial, found: Broken) -> CaseOutcome:
        """Return the first of a case's findings of the clause that is the backend's; none: the first of them."""
        outcomes = (self._settled(base, case, clause, trial, item) for item in (found, *found.others))
        # Lazily, since each further finding may cost further trials: the search ends with the first that is the
        # backend's.
        first = next(outcomes)
        return first if first.blame == "backend" else next((o for o in outcomes if o.blame == "backend"), first)

    def _settled(self, base: CaseOutcome, case: Case, clause: Clause, trial: Trial, found: Broken) -> CaseOutcome:
        finding = Finding(
            observed=found.observed, kind=found.kind, rank=found.rank, evidence=found.evidence,
            reproduce=shlex.join([*self.bench.command, "--clause", clause.id, "--case", case.name]),
        )  # fmt: skip
        verdict = Verdict.HANG if found.kind == "hang" else Verdict.FAIL
        failure = Failure(
            outcome=replace(base, verdict=verdict, blame="backend", finding=finding),
            clause=clause, applies=case.clauses[clause], found=found, trial=trial,
            body=found.witness or case.body, clauses=case.ids, below_storage=case.below_storage,
        )  # fmt: skip
        return self._if_known(self._blaming.settle(failure))

    def _if_known(self, failed: CaseOutcome) -> CaseOutcome:
        """With a sentence more where torch is blamed for what it is known to break."""
        entry = self.torchs.expected(failed.clause, failed.case) if failed.blame == "engine" else None
        if entry is None:
            return failed
        said = known_of_torch(entry.reason, entry.defect)
        return replace(failed, reason=f"{failed.reason} {said}".strip())


def outcome(clause: Clause, case: str, verdict: Verdict, reason: str) -> CaseOutcome:
    """Return the outcome of a case that was not run."""
    return CaseOutcome(
        clause=clause.id, case=case, verdict=verdict, blame=None, reason=reason, finding=None,
        seconds=0.0, notes=(), used=(),
    )  # fmt: skip
