"""Keys are what they were: of their own type, one value each, and there even if nothing lies below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import (
    Broken,
    mentions,
    must,
    must_match,
    must_refuse,
    must_succeed,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.nesting import on_ranks_nesting_keys as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.nesting.on_ranks_nesting_keys")

if TYPE_CHECKING:
    from dcp_conformance.suites.core.nesting import on_ranks_nesting as nested
else:
    nested = module_on_ranks("dcp_conformance.suites.core.nesting.on_ranks_nesting")


@pytest.mark.clauses("NEST-05")
@pytest.mark.parametrize(
    ("case", "key"),
    (
        ("dotted", "outer.inner"),
        ("integer", "outer.1"),
        ("negative", "outer.-1"),
        ("list_first", "outer.1"),
        ("list_last", "outer.1"),
        ("list_below", "outer.1.inner"),
        ("crossed", "outer.inner.leaf"),
    ),
    ids=("dotted", "integer", "negative", "list_first", "list_last", "list_below", "crossed"),
)
def test_two_values_of_one_flat_key_fail_the_save(subject: Subject, case: str, key: str) -> None:
    attempt = subject.alone(nested.same_flat_key, case)
    error = must_refuse(attempt, "a save of two values with the same flat key", rank=0)
    told = [error, *(error.failures or {}).values()]
    if not any(item.is_a("ValueError") and mentions(item, key) for item in told):
        raise Broken(
            f"it raised {told[-1].type_name}: {told[-1].text[:200]}; promised is a ValueError that names {key!r}",
            kind="error",
            rank=0,
        )


@pytest.mark.clauses("NEST-08")
@pytest.mark.parametrize("leaf", ("tensors", "objects"))
@pytest.mark.parametrize("place", ("top", "nested"))
def test_integer_keys_are_integers_again(subject: Subject, place: str, leaf: str) -> None:
    found = subject.alone(on_ranks.integer_keys, place, leaf)
    must_match([found])


@pytest.mark.clauses("NEST-09")
def test_rebuilt_state_has_keys_of_the_original_types(subject: Subject) -> None:
    keys = subject.alone(on_ranks.rebuilt_keys)
    must(
        keys == ["'name'", "0"],
        otherwise=f"the state rebuilt from the checkpoint has the keys {keys} instead of 'name' and 0",
        kind="keys",
        rank=0,
    )


@pytest.mark.clauses("NEST-10")
def test_empty_mappings_are_still_there(subject: Subject) -> None:
    (attempt, found) = subject.alone(on_ranks.empty_mappings)
    must_succeed(attempt, "a load of stored empty mappings", rank=0)
    must_match([found])


@pytest.mark.clauses("NEST-16")
def test_top_level_keys_of_two_types_load_or_are_refused_at_the_save(subject: Subject) -> None:
    (saved, loaded, found) = subject.alone(on_ranks.mixed_keys)
    if saved.ok:
        must_succeed(loaded, "a load into the template that was saved", rank=0)
        must_match([found])


@pytest.mark.clauses("NEST-07")
def test_setting_by_path_makes_what_is_missing_on_the_way(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.set_by_path), "the container")


@pytest.mark.clauses("NEST-07")
def test_reading_a_path_that_is_not_there_gives_the_default(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.get_by_path), "the element")
