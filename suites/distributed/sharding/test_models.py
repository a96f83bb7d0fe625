"""Models in the forms that training gives them come back exactly, in the same form and in every other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import Untestable, must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.sharding import on_ranks_models as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.sharding.on_ranks_models")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("LOCAL_STATE_DICT", marks=pytest.mark.clauses("SHARD-01", "SHARD-03")),
        pytest.param("SHARDED_STATE_DICT", marks=pytest.mark.clauses("SHARD-02", "SHARD-03")),
    ],
)
@pytest.mark.worlds(2, 4)
def test_fsdp1_model_loads_into_another(subject: Subject, world: int, kind: str) -> None:
    different, found = zip(*subject.observe(world, on_ranks.fsdp1_round_trip, kind), strict=True)
    if not all(different):
        raise Untestable("the two models were equal before the load")
    must_match(found, "the parameters after the load")


@pytest.mark.clauses("RES-05")
@pytest.mark.worlds(2, 3, 4)
def test_fsdp1_model_loads_on_another_number_of_ranks(subject: Subject, world: int) -> None:
    subject.observe(world, on_ranks.save_fsdp1)
    must_match(subject.observe({2: 4, 3: 2, 4: 3}[world], on_ranks.load_fsdp1), "the parameters after the load")


@pytest.mark.clauses("SHARD-04", "SHARD-11")
@pytest.mark.worlds(2, 3)
def test_training_goes_on_as_if_it_had_never_stopped(subject: Subject, world: int) -> None:
    results = subject.observe(world, on_ranks.resumed_training)
    with subject.promise("SHARD-04"):
        must_match([found for found, _on, _resumed in results])
    with subject.promise("SHARD-11"):
        for rank, (_found, went_on, resumed) in enumerate(results):
            must(
                went_on == resumed,
                otherwise=f"the next losses are {resumed}, and {went_on} without the stop",
                kind="loss",
                rank=rank,
            )


@pytest.mark.clauses("SHARD-05")
def test_model_in_any_form_loads_into_every_other(subject: Subject) -> None:
    must_match(subject.observe(4, on_ranks.every_way_into_every_other, fresh=True))


@pytest.mark.clauses("SHARD-06")
@pytest.mark.parametrize("even", (True, False), ids=("even", "uneven"))
def test_hybrid_model_loads_into_a_fully_sharded_one(subject: Subject, even: bool) -> None:
    must_match(subject.observe(4, on_ranks.hybrid_to_fsdp1, even, fresh=True))


@pytest.mark.clauses("SHARD-08")
@pytest.mark.worlds(2, 3)
def test_module_with_extra_state_is_restored(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.extra_state))


@pytest.mark.clauses("SHARD-12")
def test_names_of_wrapped_models_have_no_prefix(subject: Subject) -> None:
    for rank, names in enumerate(subject.observe(1, on_ranks.names_of_wrapped_models, group=True)):
        for wrapper, keys in names.items():
            must(
                keys == names["bare"], otherwise=f"the keys of a {wrapper} model are {keys[:3]}", kind="keys", rank=rank
            )


@pytest.mark.clauses("SHARD-12")
def test_checkpoint_of_a_wrapped_model_fits_the_bare_one(subject: Subject) -> None:
    must_match(subject.observe(2, on_ranks.wrapped_into_bare))
