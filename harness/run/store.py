"""The store that a backend's `start()` brought up: whose failure it is when it dies, and one new start if it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from dcp_conformance.harness.backend.server import Server
from dcp_conformance.harness.cluster import Returned
from dcp_conformance.harness.cluster.errors import ServerLost
from dcp_conformance.harness.run.run import Run
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict

_DEAD = "the store that start() brought up no longer answers, so nothing follows for the backend from this failure: "
_ANEW = "its store had died and was started anew; this is what came of the case then"
_MOST_STARTS = 2


class Store:
    """A server for the time of a run. `environment`: by which ranks find it; its values are shown to nobody."""

    def __init__(self, server: Server, run: Run) -> None:
        self._server, self._run = server, run
        self._starts = 0
        self.environment: dict[str, str] = {}
        self._answered = False

    def start(self) -> None:
        """Bring it up and give ranks its environment. Raises UsageError when it does not come up."""
        self.environment = self._server.start()
        self._starts += 1
        self._run.restart(self.environment)
        # Only of a store that once answered can it be said that it died.
        self._answered = self._answers()

    def stop(self) -> None:
        """Bring it down; may be called twice."""
        self._server.stop()

    def judged(self, case: Callable[[], list[CaseOutcome]]) -> list[CaseOutcome]:
        """Return the outcomes of a case.

        A failure counts only if the store is alive after it, and it is started anew once.
        """
        outcomes = case()
        if not _fails(outcomes) or not self._has_died():
            return outcomes
        # Once: a store that dies under every case would otherwise be nursed through the whole run, and a backend that
        # kills its own store would be excused each time at the price of a start.
        if self._starts < _MOST_STARTS:
            self.stop()
            self.start()
            # The whole case again: what its first half had stored went with the old store.
            outcomes = [replace(outcome, notes=(*outcome.notes, _ANEW)) for outcome in case()]
            if not _fails(outcomes) or not self._has_died():
                return outcomes
        # Only what counts against the backend: what passed was served by a store that was still alive.
        return [_untestable(outcome) if outcome.broken else outcome for outcome in outcomes]

    def _has_died(self) -> bool:
        return self._answered and not self._answers()

    def _answers(self) -> bool:
        probe, spec = "dcp_conformance.harness.subject.health:answers", self._run.judge.trials.spec()
        try:
            [outcome] = self._run.cluster.run(1, probe, spec)
        except ServerLost:
            return True  # that is no answer, and no excuse
        return isinstance(outcome, Returned) and outcome.value is True


def _fails(outcomes: Iterable[CaseOutcome]) -> bool:
    return any(outcome.broken for outcome in outcomes)


def _untestable(outcome: CaseOutcome) -> CaseOutcome:
    seen = outcome.finding.observed if outcome.finding is not None else outcome.reason
    return replace(outcome, verdict=Verdict.UNTESTABLE, blame=None, finding=None, reason=_DEAD + seen)
