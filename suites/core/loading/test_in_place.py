"""A load changes values, where they are: whoever holds a reference to them sees what was loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.loading import on_ranks_in_place as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.loading.on_ranks_in_place")


@pytest.mark.clauses("INPL-01")
def test_tensors_are_loaded_in_their_own_memory(subject: Subject) -> None:
    (found, moved) = subject.alone(on_ranks.tensors_in_their_memory)
    must_match([found])
    must(
        not moved,
        otherwise=f"the load put other tensors, or other memory, in the place of {moved}",
        kind="identity",
        rank=0,
    )


@pytest.mark.clauses("INPL-02")
def test_mappings_stay_the_same_objects(subject: Subject) -> None:
    (found, replaced) = subject.alone(on_ranks.mappings_stay)
    must_match([found])
    must(not replaced, otherwise=f"the load put other mappings in the place of {replaced}", kind="identity", rank=0)


@pytest.mark.clauses("INPL-14")
def test_load_changes_nothing_of_a_model_but_values(subject: Subject) -> None:
    (found, changed) = subject.alone(on_ranks.only_values_change)
    must_match([found], "the loaded model")
    must(not changed, otherwise=f"the load changed more than values: {', '.join(changed)}", kind="identity", rank=0)


@pytest.mark.clauses("INPL-15")
@pytest.mark.parametrize("form", ("stateful", "plain"))
def test_tied_weights_stay_tied_and_get_the_saved_value(subject: Subject, form: str) -> None:
    (found, gone) = subject.alone(on_ranks.tied_weights, form)
    must_match([found], "the loaded model")
    must(
        not gone,
        otherwise=f"weights that shared their memory before the load do not any more, in {' and '.join(gone)}",
        kind="tie",
        rank=0,
    )


@pytest.mark.clauses("INPL-16")
@pytest.mark.worlds(2, 4)
def test_distributed_targets_keep_their_layout_and_memory(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.distributed_targets)
    must_match(found for found, _ in observed)
    for rank, (_, changed) in enumerate(observed):
        must(not changed, otherwise=f"the load changed {', '.join(changed)}", kind="identity", rank=rank)
