"""Covering arrays meet every pair that can meet, the same way each time, and findings are reduced to what they need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dcp_conformance.harness.states.covering import complete, coverage, meetings, pairwise
from dcp_conformance.harness.states.model import ALONE
from dcp_conformance.harness.states.model_async import IN_BACKGROUND
from dcp_conformance.harness.states.model_on_ranks import ON_RANKS
from dcp_conformance.harness.states.reducing import explains, reduced, restored, sentence
from dcp_conformance.harness.states.varied import Combination, Model, clash, factor, hiding, options

MODELS = {"one process": ALONE, "several ranks": ON_RANKS, "in the background": IN_BACKGROUND}
SMALL = Model(
    factors=(
        factor("colour", ("red", "none"), ("green", "a bug"), ("blue", "a bug")),
        factor("size", ("small", "none"), ("large", "a bug")),
        factor("shape", ("round", "none"), ("square", "a bug"), ("flat", "a bug")),
    ),
    clashes=(clash("colour", ("blue",), "shape", ("flat", "square"), "for the test"),),
)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_pair_that_can_meet_meets_in_lawful_combinations(model: Model) -> None:
    rows = pairwise(model)
    found = coverage(model, rows, 2)
    assert found.met == found.possible
    assert all(model.allows(row) for row in rows)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_pair_is_met_where_no_other_value_hides_it(model: Model) -> None:
    found = coverage(model, pairwise(model), 2)
    assert found.shown == found.possible


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_same_model_gives_the_same_combinations(model: Model) -> None:
    assert pairwise(model) == pairwise(model)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_value_says_which_bug_it_stands_for(model: Model) -> None:
    assert [value.name for item in model.factors for value in item.values if not value.stands_for] == []


def test_pair_that_clashes_is_listed_as_impossible_and_never_drawn() -> None:
    found = coverage(SMALL, pairwise(SMALL), 2)
    assert set(found.impossible) == {
        (("colour", "blue"), ("shape", "flat")),
        (("colour", "blue"), ("shape", "square")),
    }
    assert (("colour", "blue"), ("shape", "flat")) not in meetings(SMALL, 2)


def test_value_whose_capability_is_opted_out_of_is_never_drawn() -> None:
    kinds = {row["object"] for row in pairwise(ALONE.within(["objects"]))}
    assert kinds == {"none", "stateful", "two statefuls"}


def test_pair_in_a_value_that_hides_it_is_met_but_not_shown() -> None:
    model = Model(factors=(*SMALL.factors, factor("content", ("noise", "none"), *hiding(("zeros", "a bug")))))
    hidden = {"colour": "green", "size": "large", "shape": "round", "content": "zeros"}
    found = coverage(model, [hidden], 2)
    assert (found.met, found.shown) == (6, 3)  # of green, large and round only those with the zeros are shown


def test_option_sets_are_a_factor_like_the_others() -> None:
    model = replace(SMALL, factors=(*SMALL.factors, options(["{}", "{'thread_count': 2}"])))
    assert {(row["options"], row["colour"]) for row in pairwise(model)} >= {("{'thread_count': 2}", "green")}


def test_failure_is_reduced_to_the_values_that_it_needs() -> None:
    asked: list[Combination] = []

    def fails(row: Combination) -> bool:
        asked.append(row)
        return row["colour"] == "green" and row["size"] == "large"

    needed = reduced(SMALL, {"colour": "green", "size": "large", "shape": "square"}, fails)
    assert needed == {"colour": "green", "size": "large"}
    assert all(SMALL.allows(row) for row in asked)
    assert restored(SMALL, needed) == {"colour": "green", "size": "large", "shape": "round"}


def test_failure_of_the_plainest_state_needs_nothing() -> None:
    assert reduced(SMALL, {"colour": "green", "size": "small", "shape": "flat"}, lambda row: True) == {}
    assert sentence({}) == "any state (the plainest fails)"


def test_reduced_failure_is_named_by_its_values() -> None:
    assert sentence({"dtype": "int64", "options": "threads"}) == "dtype 'int64' with options 'threads'"


def test_finding_explains_the_combinations_that_hold_its_values() -> None:
    assert explains({"size": "large"}, {"size": "large", "colour": "red"})
    assert not explains({"size": "large", "colour": "green"}, {"size": "large", "colour": "red"})


def test_values_that_clash_are_not_completed() -> None:
    assert complete(SMALL, {"colour": "blue", "shape": "flat"}) is None
