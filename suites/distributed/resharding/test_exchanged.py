"""Whatever a storage says to its own other ranks gets there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import NotApplicable, must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.resharding import on_ranks_exchanged as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.resharding.on_ranks_exchanged")


@pytest.mark.clauses("GLOB-18")
def test_what_a_storage_adds_to_plans_can_be_pickled(subject: Subject) -> None:
    problems = subject.observe(1, on_ranks.unpicklable)[0]
    if problems is None:
        raise NotApplicable("the engine drives no foreign storage")
    must(not problems, otherwise="; ".join(problems or ()), kind="not picklable")


@pytest.mark.clauses("GLOB-18")
def test_what_a_storage_adds_to_plans_reaches_other_ranks(subject: Subject) -> None:
    must_match(subject.observe(2, on_ranks.round_trip))
