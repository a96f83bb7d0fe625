"""A load gets what it asks for: what is missing is an error unless allowed, and what is left over does not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.shared_failures import failures_of, must_fail_everywhere
from dcp_conformance.harness.laws.verbs import must, must_match, must_name, must_succeed
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.loading import on_ranks_partial as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.loading.on_ranks_partial")


@pytest.mark.clauses("PART-01")
@pytest.mark.parametrize(
    ("template", "key"),
    (({"wanted_key": 4}, "wanted_key"), ({"outer": {"wanted_key": 4}}, "outer.wanted_key")),
    ids=("top", "nested"),
)
def test_key_that_is_not_stored_fails_the_load_by_its_name(
    subject: Subject, template: dict[str, object], key: str
) -> None:
    attempt = subject.alone(on_ranks.ask_for_missing, template)
    must_name(attempt, [key], "a load of a key that is not stored", rank=0)


@pytest.mark.clauses("PART-01")
def test_key_that_only_resembles_stored_ones_fails_the_load_by_its_name(subject: Subject) -> None:
    asked = subject.alone(on_ranks.ask_for_lookalikes)
    for key, attempt in asked:
        must_name(attempt, [key], f"a load of {key!r}, which is not stored", rank=0)


@pytest.mark.clauses("PART-09")
def test_all_missing_keys_are_named(subject: Subject) -> None:
    attempt = subject.alone(on_ranks.ask_for_missing, {"wanted_key": 4, "stored": 4, "other_key": 2})
    must_name(attempt, ["wanted_key", "other_key"], "a load of two keys that are not stored", rank=0)


@pytest.mark.clauses("PART-08")
def test_longer_list_fails_at_its_first_missing_place(subject: Subject) -> None:
    (attempt, _) = subject.alone(on_ranks.ask_for_more_of_a_list, 1, 3)
    must_name(attempt, ["items.1"], "a load of a list that is longer than the stored one", rank=0)


@pytest.mark.clauses("PART-08")
def test_shorter_list_loads_the_beginning(subject: Subject) -> None:
    (attempt, found) = subject.alone(on_ranks.ask_for_more_of_a_list, 3, 1)
    must_succeed(attempt, "a load of a list that is shorter than the stored one", rank=0)
    must_match([found])


@pytest.mark.clauses("PART-02")
def test_partial_load_fills_what_is_stored_and_passes_over_the_rest(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.allow_missing))


@pytest.mark.clauses("PART-05")
def test_partial_load_keeps_what_it_passes_over(subject: Subject) -> None:
    lost = subject.alone(on_ranks.keep_skipped_values)
    must(
        not lost,
        otherwise=f"after a partial load that passed over them, {'; '.join(lost[:3])} ({len(lost)} in all)",
        kind="values",
        rank=0,
    )


@pytest.mark.clauses("PART-05")
def test_partial_load_keeps_the_tensors_it_passes_over(subject: Subject) -> None:
    lost = subject.alone(on_ranks.keep_skipped_tensors)
    otherwise = f"a partial load changed tensors that it passed over: {', '.join(lost[:3])} ({len(lost)} in all)"
    must(not lost, otherwise=otherwise, kind="values", rank=0)


@pytest.mark.clauses("PART-03")
def test_keys_that_nobody_asks_for_are_neither_missed_nor_read(subject: Subject) -> None:
    (found, read) = subject.alone(on_ranks.ask_for_some_of_each)
    must_match([found])
    left = [key for key in read if "unasked" in key]
    must(not left, otherwise=f"a load that did not ask for them planned to read {left}", kind="read items", rank=0)


@pytest.mark.clauses("PART-04")
def test_missing_and_left_over_keys_can_be_learned(subject: Subject) -> None:
    (words, partial) = subject.alone(on_ranks.learn_about_keys)
    unsaid = [key for key in ("left_over_key", *(["missing_key"] if partial else [])) if key not in words]
    must(
        not unsaid,
        otherwise=f"neither the result of the load nor a log or warning names {' and '.join(unsaid)}",
        kind="not told",
        rank=0,
    )


@pytest.mark.clauses("PART-06")
@pytest.mark.worlds(2, 4)
def test_key_missing_on_one_rank_fails_all_ranks_and_names_it(subject: Subject, world: int) -> None:
    attempts = subject.observe(world, on_ranks.one_rank_asks_for_more)
    must_fail_everywhere(attempts)
    for rank, attempt in enumerate(attempts):
        told = sorted(failures_of(attempt))
        must(
            world - 1 in told,
            otherwise=f"it was told that ranks {told} failed; rank {world - 1} did",
            kind="ranks",
            rank=rank,
        )


@pytest.mark.clauses("PART-07")
def test_load_by_keys_gives_these_keys_and_nothing_else(subject: Subject) -> None:
    (model, prefix) = subject.alone(on_ranks.load_by_keys, ["model", "optimizer.state"])
    must_match([model], "the state loaded by the key 'model'")
    must_match([prefix], "the state loaded by the prefix 'optimizer.state'")
