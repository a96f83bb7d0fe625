"""What pytest shows for a case, from the outcomes of its clauses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from dcp_conformance.harness.certificate import terminal
from dcp_conformance.harness.certificate.prose import encodable, plain
from dcp_conformance.harness.laws.verbs import HarnessFault
from dcp_conformance.harness.run.run import Run
from dcp_conformance.harness.verdicts import levels
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """How the outcomes of one case become pytest's word and text."""

    run: Run
    #: Takes secrets out of a text.
    clean: Callable[[str], str]

    def show(self, outcomes: Sequence[CaseOutcome]) -> None:
        """Pass, or raise what pytest takes for the worst word of the clauses, with the texts of those that have it."""
        # A case that one clause does not ask for, and another does, is not skipped.
        outcomes = [item for item in outcomes if item.verdict is not Verdict.NOT_APPLICABLE] or outcomes
        words = {outcome.clause: self._word(outcome) for outcome in outcomes}
        word = levels.worst_word(words.values())
        chosen = [outcome for outcome in outcomes if words[outcome.clause] == word]
        # Raised, so that pytest counts it apart: a fault of ours is no failure of the backend.
        if word == "error":
            raise HarnessFault(said(chosen[0].reason))
        if word == "failed":
            # Without the traceback, which would show our test and none of the author's code.
            pytest.fail("\n\n".join(map(self._text, chosen)), pytrace=False)
        if word == "xfailed":
            pytest.xfail("\n".join(map(self._text, chosen)))
        if word == "skipped":
            # Each reason once: the clauses of a case are often skipped for the same one.
            pytest.skip(said("; ".join(dict.fromkeys(f"{item.verdict.word}: {item.reason}" for item in chosen))))

    def _word(self, outcome: CaseOutcome) -> levels.PytestWord:
        clause = self.run.catalogue[outcome.clause]
        return levels.pytest_word(
            outcome,
            strength=clause.strength.name,
            column="engine" if self.run.applicability(clause).kind == "engine" and not outcome.broken else "backend",
            known=self.run.known.expected(outcome.clause, outcome.case) is not None,
            strict=self.run.options.strict,
        )

    def _text(self, outcome: CaseOutcome) -> str:
        return self.clean("\n".join(terminal.failure_lines(self.run.catalogue[outcome.clause], outcome)))


def said(text: str) -> str:
    """Return a text that may hold words of the backend, for a terminal."""
    return "\n".join(encodable(plain(text).split("\n"), sys.stdout.encoding))
