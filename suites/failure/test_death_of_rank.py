"""A rank that dies takes no other rank's time beyond the timeout of the group."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.cluster import Died, Outcome
from harness.faults.fault import LOAD_PHASES, SAVE_PHASES, Fault
from harness.laws import Untestable, reached, refused, returned
from harness.subject import Subject, scenarios

on_ranks = scenarios("suites.failure.scenarios.dying")
COORDINATOR_ONLY = ("prepare_global_plan", "finish")
LIMIT = 15.0


@pytest.mark.clauses("FAIL-14")
@pytest.mark.parametrize("phase", [phase for phase in SAVE_PHASES if not phase.endswith("future")])
def test_death_of_a_rank_ends_the_save_of_the_others(subject: Subject, phase: str) -> None:
    victim = 0 if phase in COORDINATOR_ONLY else 1
    fault = Fault(phase=phase, ranks=(victim,), kind="kill")
    ended_with_error(subject.run(2, on_ranks.save_with_death, fault, timeout=LIMIT), phase, victim, "save")


@pytest.mark.clauses("FAIL-14")
@pytest.mark.parametrize("phase", [phase for phase in LOAD_PHASES if not phase.endswith("future")])
def test_death_of_a_rank_ends_the_load_of_the_others(subject: Subject, phase: str) -> None:
    victim = 0 if phase in COORDINATOR_ONLY else 1
    fault = Fault(phase=phase, ranks=(victim,), kind="kill")
    ended_with_error(subject.run(2, on_ranks.load_with_death, fault, timeout=LIMIT), phase, victim, "load")


def ended_with_error(outcomes: Sequence[Outcome], phase: str, victim: int, call: str) -> None:
    """Broken unless every rank but the victim raised in time."""
    reached(outcomes, phase, (victim,))
    if not isinstance(outcomes[victim], Died):
        raise Untestable(f"rank {victim} did not die in {phase} as it was told to")
    survivors = [outcome for outcome in outcomes if outcome.rank != victim]
    for survivor, attempt in zip(survivors, returned(survivors), strict=True):
        refused(attempt, f"a {call} in which rank {victim} was killed in {phase}", rank=survivor.rank)
