"""Whatever a storage says to its own other ranks gets there."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import NotApplicable, holds, returned, same
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.distributed.resharding.on_ranks_exchanged")


@pytest.mark.clauses("GLOB-18")
def test_what_a_storage_adds_to_plans_can_be_pickled(subject: Subject) -> None:
    problems = returned(subject.run(1, on_ranks.unpicklable))[0]
    if problems is None:
        raise NotApplicable("the engine drives no foreign storage")
    holds(not problems, "; ".join(problems or ()), kind="not picklable")


@pytest.mark.clauses("GLOB-18")
def test_what_a_storage_adds_to_plans_reaches_other_ranks(subject: Subject) -> None:
    same(returned(subject.run(2, on_ranks.round_trip)))
