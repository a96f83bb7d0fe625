"""Whose fault a failure is: the further trials of docs/blame.md, and what they show."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dcp_conformance.harness.contract import Clause
from dcp_conformance.harness.laws.verbs import Broken
from dcp_conformance.harness.verdicts.blame import decide, delegating, once_only, own_functions
from dcp_conformance.harness.verdicts.ownership import Applicability
from dcp_conformance.harness.verdicts.trials import CONTROL, TORCH, Bench, Body, Trial, Trials
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict

STORAGE_IN_THE_WAY = (
    "The control pair keeps the promise under the same engine, so the failure is not the engine's: something in the "
    "storage stands in the way, and the clause, which is not the storage's, cannot be judged with it."
)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A broken promise, and what is needed to try it again."""

    #: The backend's until something else is shown.
    outcome: CaseOutcome
    clause: Clause
    applies: Applicability
    found: Broken
    trial: Trial
    body: Body
    #: The clauses of the case.
    clauses: tuple[str, ...]
    #: Its faults act below the storage interface, where no engine takes part.
    below_storage: bool

    @property
    def wrong_values(self) -> bool:
        """The backend's own code wrote and read, and the values are not those that were saved."""
        return self.found.kind == "values" and self.trial.moved


@dataclass(frozen=True)
class Blaming:
    """Makes the further trials that settle a failure, at most once each for a case."""

    trials: Trials

    @property
    def _bench(self) -> Bench:
        return self.trials.bench

    def settle(self, failure: Failure) -> CaseOutcome:
        """Return the failure's outcome with whom it is put on and why, or untestable where nobody can be blamed."""
        applies = failure.clause.applies
        if failure.found.kind == "server":
            return failure.outcome  # no engine ends it, and each further trial would cost a new one
        if failure.applies.kind == "engine":
            return self._engines(failure)
        # Who exports both save and load is judged as one thing: there is no engine left to put it on.
        if not self._exports_whole_engine and applies & {"S", "F"} and not failure.below_storage:
            return self._storages(failure)
        if failure.trial.torchs and applies & {"E", "P"}:
            return self._delegated(failure)
        return failure.outcome

    @property
    def _exports_whole_engine(self) -> bool:
        return "E" in self._bench.letters and {"save", "load"} <= self._bench.functions

    def _engines(self, failure: Failure) -> CaseOutcome:
        """Settle a clause of the engine under the backend: it is torch's only where torch alone can break it.

        Wrong values that the backend's own storage gives under two engines, and the control pair under none, are the
        storage's, whoever owns the clause.
        """
        failed = failure.outcome
        if "S" not in self._bench.letters or self._under_control(failure):
            return replace(failed, blame="engine")
        # Only here, since it costs a trial: the control pair has answered the common case above.
        under_second = self._under_second(failure)
        if under_second is False:
            return replace(failed, blame="engine")
        if under_second and failure.wrong_values:
            return replace(failed, blame="backend", reason=decide(control_failed=False, second_failed=True).sentence)
        return replace(failed, verdict=Verdict.UNTESTABLE, blame=None, reason=STORAGE_IN_THE_WAY)

    def _storages(self, failure: Failure) -> CaseOutcome:
        """Settle a clause of the storage: control pair, backend under a second engine, first pair again.

        Where functions of the backend's own took part, torch's in their place come before: what these do not break
        is theirs.
        """
        failed, used = failure.outcome, failure.trial.used
        # None, a trial that could not be made, counts as not broken: the doubt stays with the backend's own functions.
        if "E" in used and not self.trials.again(failure.clauses, failure.body, engine=TORCH).broke(failed.clause):
            return replace(failed, reason=own_functions(sorted(self._bench.functions)).sentence)
        control, second = self._under_control(failure), self._under_second(failure)
        blame = decide(control_failed=control, second_failed=second, wrong_values=failure.wrong_values)
        # What hangs on what went before does not come again in trials that start afresh: no engine is blamed for it.
        if blame.blame == "engine" and used:
            repeated = self.trials.again(failure.clauses, failure.body).broke(failed.clause)
            blame = once_only() if repeated is False else blame
        verdict = failed.verdict if blame.verdict is Verdict.FAIL else blame.verdict
        return replace(failed, verdict=verdict, blame=blame.blame, reason=blame.sentence)

    def _delegated(self, failure: Failure) -> CaseOutcome:
        """Settle a failure of an engine that enters torch's: what torch's does alike with control is torch's."""
        failed, parts = failure.outcome, sorted(failure.trial.torchs)
        control = self.trials.again(failure.clauses, failure.body, storage=CONTROL, engine=TORCH)
        same = control.findings.get(failed.clause)
        # Of the same kind: a hang under the backend is not excused by a wrong value under torch.
        if not (isinstance(same, Broken) and same.kind == failure.found.kind):
            return replace(failed, reason=delegating(control_failed=False, parts=parts).sentence)
        # The storage is the backend's as well: torch's engine takes the blame only where the storage is seen to keep
        # the promise without it.
        if "S" in failure.clause.applies and self._under_second(failure) is not False:
            return failed
        return replace(failed, blame="engine", reason=delegating(control_failed=True, parts=parts).sentence)

    def _under_control(self, failure: Failure) -> bool | None:
        trial = self.trials.again(failure.clauses, failure.body, storage=CONTROL, engine=TORCH)
        return trial.broke(failure.clause.id)

    def _under_second(self, failure: Failure) -> bool | None:
        """Tell whether the backend's storage breaks the clause under the second engine too; None: not known."""
        if self._bench.second is None:
            return None
        trial = self.trials.again(failure.clauses, failure.body, engine=self._bench.second)
        return trial.broke(failure.clause.id)
