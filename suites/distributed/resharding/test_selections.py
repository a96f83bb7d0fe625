"""Ranks may ask for different keys, in different orders, on different meshes, or for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match, must_refuse, must_succeed
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.resharding import on_ranks_selections as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.resharding.on_ranks_selections")


@pytest.mark.clauses("RES-14")
@pytest.mark.worlds(2, 3)
def test_ranks_load_different_selections_of_keys(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.other_keys))


@pytest.mark.clauses("RES-15")
@pytest.mark.worlds(2, 3)
def test_ranks_list_their_keys_in_different_orders(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.keys_in_other_orders))


@pytest.mark.clauses("RES-17")
def test_comparison_of_equal_keys_passes(subject: Subject) -> None:
    for rank, attempt in enumerate(subject.observe(2, on_ranks.comparison_of_keys, "same")):
        must_succeed(attempt, "the comparison of equal keys", rank=rank)


@pytest.mark.clauses("RES-17")
@pytest.mark.worlds(2, 3)
def test_comparison_of_different_keys_fails_on_all(subject: Subject, world: int) -> None:
    for rank, attempt in enumerate(subject.observe(world, on_ranks.comparison_of_keys, "own")):
        error = must_refuse(attempt, "the comparison of keys that differ", rank=rank)
        must(
            error.is_a("AssertionError"),
            otherwise=f"it raised {error.type_name}",
            kind="class",
            rank=rank,
        )


@pytest.mark.clauses("RES-20")
@pytest.mark.worlds(3, 4)
def test_rank_that_asks_for_nothing_takes_part(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.nothing_on_the_last_rank, fresh=True))


@pytest.mark.clauses("RES-21")
def test_names_of_meshes_do_not_matter(subject: Subject) -> None:
    must_match(subject.observe(2, on_ranks.meshes_of_other_names, fresh=True))


@pytest.mark.clauses("REPL-04")
@pytest.mark.worlds(2, 3)
def test_values_that_differ_by_rank_are_noticed_or_the_coordinators_kept(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.different_values)
    found = [found for _save, found in observed]
    must_match(
        found, "of a state whose ranks differ, saved without an error, what loads (rank 0's as a whole is wanted)"
    )
