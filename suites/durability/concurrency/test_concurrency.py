"""Saves and loads at the same time do not disturb each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    described,
    must,
    must_match,
    of_subject,
    unexpected,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.concurrency import on_ranks_concurrency as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.concurrency.on_ranks_concurrency")

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.concurrency import on_ranks_during_load as during_load
else:
    during_load = module_on_ranks("dcp_conformance.suites.durability.concurrency.on_ranks_during_load")


@pytest.mark.clauses("CONC-04")
def test_saves_to_different_ids_in_threads(subject: Subject) -> None:
    attempts = subject.alone(on_ranks.save_in_threads, 8)
    undisturbed(attempts, "one of eight threads, each of which saved and loaded an id of its own,")


@pytest.mark.clauses("CONC-05")
def test_loads_of_one_id_in_threads(subject: Subject) -> None:
    attempts = subject.alone(on_ranks.load_in_threads, 6)
    undisturbed(attempts, "one of six threads that loaded one id")


@pytest.mark.clauses("CONC-05")
def test_loads_of_one_id_in_processes(subject: Subject) -> None:
    subject.observe(1, on_ranks.save_shared)
    for attempts in subject.observe(4, on_ranks.load_shared, group=False):
        undisturbed(attempts, "one of four processes that loaded one id")


@pytest.mark.clauses("CONC-06")
def test_planner_resolves_data_for_several_threads(subject: Subject) -> None:
    wrong = subject.alone(on_ranks.resolve_in_threads, 4)
    must(not wrong, otherwise=f"asked by four threads at once, {wrong[:1]}", kind="resolve_data", rank=0)


@pytest.mark.clauses("CONC-07")
def test_all_ranks_create_the_folder_at_once(subject: Subject) -> None:
    must_match(subject.observe(4, on_ranks.save_deep_at_once, 20))


@pytest.mark.clauses("CONC-08")
def test_one_writer_stores_each_save_under_its_own_id(subject: Subject) -> None:
    found = subject.alone(on_ranks.reuse_writer, 3)
    if not found:
        raise NotApplicable("its engine keeps a store of its own, and takes no writer")
    for number, differences in enumerate(found, 1):
        must_match([differences], f"what save {number} of three through one writer stored")


@pytest.mark.clauses("CONC-08")
def test_one_writer_stores_what_changed_in_one_place(subject: Subject) -> None:
    found = subject.alone(on_ranks.one_writer_in_one_place)
    for number, differences in enumerate(found, 1):
        must_match([differences], f"what save {number} of {len(found)} through one writer stored")


@pytest.mark.clauses("CONC-10")
@pytest.mark.parametrize("equal", (False, True), ids=("other_values", "equal_values"))
def test_neighbours_are_saved_and_discarded_beside_loads(subject: Subject, equal: bool) -> None:
    attempts = subject.alone(on_ranks.load_beside_saves, 20, equal)
    undisturbed(attempts, "a load of A, or a save of its neighbours,")


@pytest.mark.clauses("CONC-10")
@pytest.mark.parametrize("first", (True, False), ids=("oldest_first", "newest_first"))
def test_discarding_one_of_equal_checkpoints_leaves_the_others(subject: Subject, first: bool) -> None:
    for found in subject.alone(during_load.discard_in_turns, first):
        must_match([found], "a checkpoint that holds what a discarded one held")


def undisturbed(attempts: Sequence[Attempt], who: str) -> None:
    """Broken if one of several concurrent jobs raised, or loaded what was never saved."""
    for attempt in attempts:
        error = attempt.error
        if error is None:
            continue
        if error.is_a("WrongValues"):
            raise Broken(f"{who} got wrong values: {error.text}", kind="values", rank=0)
        if not of_subject(error):
            raise unexpected(error, 0)
        raise Broken(
            f"{who} got {described(error)}", kind=f"raised {error.type_name}", rank=0,
            evidence={"traceback": error.traceback},
        )  # fmt: skip
