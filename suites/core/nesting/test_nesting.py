"""Mappings and lists are flattened to keys that tell where a value was, and are put together again as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match, must_succeed
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.nesting import on_ranks_nesting as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.nesting.on_ranks_nesting")


@pytest.mark.clauses("NEST-01")
def test_nested_mappings_become_dotted_keys_with_their_paths(subject: Subject) -> None:
    (keys, paths) = subject.alone(on_ranks.stored_keys, "mappings")
    wanted = {"a.b": ["a", "b"], "a.c.d": ["a", "c", "d"], "e": ["e"]}
    must(
        keys == sorted(wanted), otherwise=f"it stored the keys {keys} instead of {sorted(wanted)}", kind="keys", rank=0
    )
    must(paths == wanted, otherwise=f"planner_data keeps the paths {paths} instead of {wanted}", kind="paths", rank=0)


@pytest.mark.clauses("NEST-02")
def test_list_with_a_tensor_or_mapping_is_flattened_by_position(subject: Subject) -> None:
    (keys, _) = subject.alone(on_ranks.stored_keys, "lists")
    wanted = ["k2.0", "k2.1", "k2.2.0.k", "k3.0.0"]
    must(keys == wanted, otherwise=f"it stored the keys {keys} instead of {wanted}", kind="keys", rank=0)


@pytest.mark.clauses("BYTE-04", "NEST-02")
def test_list_of_plain_values_is_one_value(subject: Subject) -> None:
    observed = subject.alone(on_ranks.stored_keys, "plain_list")
    keys, _ = observed
    must(keys == ["k1", "k4"], otherwise=f"it stored the keys {keys} instead of ['k1', 'k4']", kind="keys", rank=0)


@pytest.mark.clauses("NEST-03")
def test_tuple_is_one_value(subject: Subject) -> None:
    (keys, _) = subject.alone(on_ranks.stored_keys, "tuple")
    must(keys == ["pair"], otherwise=f"it stored the keys {keys} instead of ['pair']", kind="keys", rank=0)


@pytest.mark.clauses("NEST-04")
def test_nested_structures_come_back_as_they_were(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.structures_come_back))


@pytest.mark.clauses("NEST-13")
def test_mixed_containers_keep_order_and_kind(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.mixed_containers))


@pytest.mark.clauses("NEST-11")
def test_unflattened_values_are_stored_and_replaced_whole(subject: Subject) -> None:
    (found, keys, kept) = subject.alone(on_ranks.whole_values)
    must(keys == ["dict", "list", "number", "t"], otherwise=f"it stored the keys {keys}", kind="keys", rank=0)
    must_match([found])
    must(
        not kept,
        otherwise=f"the containers {kept} are the template's own, and not the stored ones",
        kind="identity",
        rank=0,
    )


@pytest.mark.clauses("NEST-12")
@pytest.mark.parametrize(("outer", "inner"), ((2, 1), (1, 2), (2, 2)), ids=("outer", "inner", "both"))
def test_shards_of_shards_are_stored_at_their_combined_offsets(subject: Subject, outer: int, inner: int) -> None:
    observed = subject.observe(outer * inner, on_ranks.sharded_twice, outer, inner)
    rows, columns = 8 // outer, 6 // inner
    wanted = sorted([[r * rows, c * columns], [rows, columns]] for r in range(outer) for c in range(inner))
    for rank, (_, chunks) in enumerate(observed):
        must(
            chunks == wanted,
            otherwise=f"the metadata has the chunks {chunks} instead of {wanted}",
            kind="chunks",
            rank=rank,
        )
    must_match(found for found, _ in observed)


@pytest.mark.clauses("NEST-14")
def test_save_leaves_no_cycle_that_keeps_tensors(subject: Subject) -> None:
    gone = subject.alone(on_ranks.tensor_after_save)
    must(
        gone,
        otherwise="a saved tensor is still there without the garbage collector, after its owner let go of it",
        kind="alive",
        rank=0,
    )


@pytest.mark.clauses("NEST-15")
@pytest.mark.parametrize("leaf", ("tensor", "number"))
@pytest.mark.parametrize("kind", ("UserDict", "ChainMap", "mappingproxy"))
def test_mapping_that_is_no_dict_loads_or_is_refused_at_the_save(subject: Subject, kind: str, leaf: str) -> None:
    observed = subject.alone(on_ranks.foreign_mapping, kind, leaf)
    saved, loaded, found = observed
    if saved.ok:
        must_succeed(loaded, f"a load into the {kind} that it was saved from", rank=0)
        must_match([found])


@pytest.mark.clauses("NEST-17")
def test_two_hundred_levels_are_saved_and_loaded(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.deep_nesting))
