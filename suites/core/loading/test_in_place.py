"""A load changes values, where they are: whoever holds a reference to them sees what was loaded."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import holds, returned, same
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.core.loading.on_ranks_in_place")


@pytest.mark.clauses("INPL-01")
def test_tensors_are_loaded_in_their_own_memory(subject: Subject) -> None:
    [(found, moved)] = returned(subject.run(1, on_ranks.tensors_in_their_memory))
    same([found])
    holds(not moved, f"the load put other tensors, or other memory, in the place of {moved}", kind="identity", rank=0)


@pytest.mark.clauses("INPL-02")
def test_mappings_stay_the_same_objects(subject: Subject) -> None:
    [(found, replaced)] = returned(subject.run(1, on_ranks.mappings_stay))
    same([found])
    holds(not replaced, f"the load put other mappings in the place of {replaced}", kind="identity", rank=0)


@pytest.mark.clauses("INPL-14")
def test_load_changes_nothing_of_a_model_but_values(subject: Subject) -> None:
    [(found, changed)] = returned(subject.run(1, on_ranks.only_values_change))
    same([found], "the loaded model")
    holds(not changed, f"the load changed more than values: {', '.join(changed)}", kind="identity", rank=0)


@pytest.mark.clauses("INPL-15")
@pytest.mark.parametrize("form", ("stateful", "plain"))
def test_tied_weights_stay_tied_and_get_the_saved_value(subject: Subject, form: str) -> None:
    [(found, gone)] = returned(subject.run(1, on_ranks.tied_weights, form))
    same([found], "the loaded model")
    holds(
        not gone,
        f"weights that shared their memory before the load do not any more, in {' and '.join(gone)}",
        kind="tie",
        rank=0,
    )


@pytest.mark.clauses("INPL-16")
@pytest.mark.worlds(2, 4)
def test_distributed_targets_keep_their_layout_and_memory(subject: Subject, world: int) -> None:
    observed = returned(subject.run(world, on_ranks.distributed_targets))
    same(found for found, _ in observed)
    for rank, (_, changed) in enumerate(observed):
        holds(not changed, f"the load changed {', '.join(changed)}", kind="identity", rank=rank)
