"""Objects that hold a state of their own are asked for it and handed it once, in order, at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import (
    Untestable,
    mentions,
    must,
    must_match,
    must_refuse,
    must_succeed,
    unexpected,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.loading import on_ranks_in_place_stateful as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.loading.on_ranks_in_place_stateful")


@pytest.mark.clauses("INPL-04")
@pytest.mark.parametrize("flat", (True, False), ids=("flattened", "whole"))
def test_plain_entries_are_assigned_back_and_stateful_ones_stay(subject: Subject, flat: bool) -> None:
    observed = subject.alone(on_ranks.assignments, flat)
    found, assigned, in_place = observed
    must_match([found])
    must(
        in_place and "stateful" not in assigned,
        otherwise="the load assigned to the key of a Stateful object",
        kind="assigned",
        rank=0,
    )


@pytest.mark.clauses("INPL-05")
@pytest.mark.worlds(1, 2)
def test_stateful_entry_is_asked_once_and_handed_its_state_at_the_end(subject: Subject, world: int) -> None:
    for rank, (saved, loaded, late) in enumerate(subject.observe(world, on_ranks.protocol_calls)):
        said = f"a save made these calls of a Stateful: {saved}"
        must(saved == ["state_dict it"], otherwise=said, kind="calls", rank=rank)
        handed = [call for call in loaded if call.startswith("load_state_dict")]
        right = len(handed) == 1 and loaded[0] == "state_dict it" and loaded[-1] == "load_state_dict it"
        must(right, otherwise=f"a load made these calls of a Stateful: {loaded}", kind="calls", rank=rank)
        must_match([late], "the state at the moment of load_state_dict")


@pytest.mark.clauses("INPL-06")
def test_stateful_objects_are_honoured_below_the_top_level(subject: Subject) -> None:
    (found, replaced) = subject.alone(on_ranks.nested_stateful)
    must_match([found], "the state of the caller's object")
    must(not replaced, otherwise=f"the load put other objects in the place of {replaced}", kind="identity", rank=0)


@pytest.mark.clauses("INPL-07")
def test_load_that_cannot_be_planned_changes_nothing(subject: Subject) -> None:
    (attempt, lost) = subject.alone(on_ranks.failed_plan)
    must_refuse(attempt, "a load of a key that is not stored", rank=0)
    must(
        not lost, otherwise=f"after the refused load, {'; '.join(lost[:3])} ({len(lost)} in all)", kind="values", rank=0
    )


@pytest.mark.clauses("INPL-09")
@pytest.mark.worlds(1, 2)
def test_no_stateful_entry_is_handed_a_state_if_a_rank_failed_to_read(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.failed_read, world - 1)
    for rank, loads in enumerate(observed):
        failed = [handed for attempt, handed in loads if not attempt.ok]
        if not failed:
            raise Untestable("no load failed, whatever was taken away")
        must(
            not any(failed),
            otherwise="load_state_dict was called in a load that failed to read",
            kind="handed",
            rank=rank,
        )


@pytest.mark.clauses("INPL-10")
@pytest.mark.worlds(2, 4)
def test_all_ranks_ask_and_hand_back_in_one_order(subject: Subject, world: int) -> None:
    orders = subject.observe(world, on_ranks.call_order)
    for rank, order in enumerate(orders):
        must(
            order == orders[0], otherwise=f"it made the calls {order}; rank 0 made {orders[0]}", kind="order", rank=rank
        )


@pytest.mark.clauses("INPL-11")
def test_load_into_an_object_without_state_is_noticeable(subject: Subject) -> None:
    (arrived, attempt, words) = subject.alone(on_ranks.load_into_no_state)
    if attempt.error is not None and not mentions(attempt.error, "entry_without_state"):
        raise unexpected(attempt.error, 0)
    told = attempt.error is not None or arrived == 2 or "entry_without_state" in words
    must(
        told,
        otherwise=f"{arrived} of 2 stored entries arrived, and no error, log or warning tells of the rest",
        kind="silent",
        rank=0,
    )


@pytest.mark.clauses("INPL-13")
@pytest.mark.parametrize("moment", ("asked", "handed"))
def test_stateful_entry_may_remove_others_during_a_load(subject: Subject, moment: str) -> None:
    (attempt, found) = subject.alone(on_ranks.entry_removed, moment)
    must_succeed(attempt, "a load during which an object removed entries from the caller's dict", rank=0)
    must_match([found])
