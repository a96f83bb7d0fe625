"""What a load leaves behind can be loaded into again; a fresh optimizer gets back what it had learned."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import NotApplicable, Untestable, holds, reached, returned, same
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.core.loading.on_ranks_in_place_again")
REACHED = {"resolve_tensor": "resolve_tensor", "interrupt": "read_data"}


@pytest.mark.clauses("INPL-17")
@pytest.mark.parametrize("way", ("resolve_tensor", "interrupt", "missing"))
def test_load_after_a_failed_one_restores_everything(subject: Subject, way: str) -> None:
    outcomes = subject.run(1, on_ranks.load_after_failure, way)
    [observed] = returned(outcomes)
    if observed is None:
        raise NotApplicable("a load through this engine is made to fail in another way")
    failed, found = observed
    if way in REACHED:
        reached(outcomes, REACHED[way], (0,))
    if all(attempt.ok for attempt in failed):
        raise Untestable("no load failed, so nothing was left half-way")
    same([found], "the state of a second load into the same objects")


@pytest.mark.clauses("INPL-12")
def test_fresh_optimizer_gets_its_state_and_settings_through_the_helpers(subject: Subject) -> None:
    [(found, rate)] = returned(subject.run(1, on_ranks.optimizer_through_helpers))
    same([found], "the optimizer's state")
    holds(rate == 0.1, f"the learning rate is {rate} instead of the saved 0.1", kind="values", rank=0)
