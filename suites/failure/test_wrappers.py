"""Wrappers that only watch change nothing: without a fault there is no failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must_match, must_succeed
from dcp_conformance.harness.subject.spec import STYLES
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.failure import on_ranks_wrappers as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.failure.on_ranks_wrappers")


@pytest.mark.clauses("FAIL-04")
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.worlds(1, 2)
def test_wrapped_storage_without_a_fault_saves_and_loads(subject: Subject, world: int, style: str) -> None:
    must_match(subject.observe(world, on_ranks.through_wrappers, style))


@pytest.mark.clauses("FAIL-04")
def test_drop_in_engine_works_with_dummy_storage(subject: Subject) -> None:
    attempts = subject.alone(on_ranks.with_dummies)
    for attempt, what in zip(attempts, ("a save to a dummy writer", "a load from a dummy reader"), strict=True):
        must_succeed(attempt, what, rank=0)
