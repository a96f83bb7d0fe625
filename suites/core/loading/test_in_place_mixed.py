"""Containers that hold Stateful objects beside plain values, and objects for which nothing is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.loading import on_ranks_in_place_mixed as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.loading.on_ranks_in_place_mixed")


@pytest.mark.clauses("INPL-02")
def test_mappings_stay_where_they_hold_a_stateful_object_too(subject: Subject) -> None:
    observed = subject.alone(on_ranks.mixed_mappings_stay)
    found, replaced = observed
    must_match([found], "the plain values")
    must(not replaced, otherwise=f"the load put other mappings in the place of {replaced}", kind="identity", rank=0)


@pytest.mark.clauses("INPL-05")
@pytest.mark.parametrize("partial", (False, True), ids=("strict", "partial"))
@pytest.mark.parametrize("state", ("empty", "tensors"))
def test_stateful_entry_is_asked_and_handed_its_state_whatever_there_is_to_read(
    subject: Subject, state: str, partial: bool
) -> None:
    observed = subject.alone(on_ranks.calls_alone, state, partial)
    saved, loaded = observed
    must(saved == ["state_dict"], otherwise=f"a save made these calls of a Stateful: {saved}", kind="calls", rank=0)
    wanted = ["state_dict", "load_state_dict"]
    must(loaded == wanted, otherwise=f"a load made these calls of a Stateful: {loaded}", kind="calls", rank=0)
