"""A save or load belongs to the ranks of its group, and to nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import Outcome
from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.shared_failures import failures_of, must_fail_everywhere
from dcp_conformance.harness.laws.verbs import (
    Broken,
    Untestable,
    must,
    must_match,
    must_refuse,
    must_return,
    must_succeed,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.groups import on_ranks_groups as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.groups.on_ranks_groups")

# Above the timeout of the groups used here, so that an engine that waits in one of them still gets to raise.
LIMIT = 25.0


@pytest.mark.clauses("PG-01", "PG-02", "PG-13")
@pytest.mark.parametrize("ranks", ([1, 2], [0, 2]), ids=("ranks1and2", "ranks0and2"))
def test_sub_group_saves_and_loads_without_the_others(subject: Subject, ranks: list[int]) -> None:
    outcomes = subject.run(3, on_ranks.save_and_load_in_group, ranks, timeout=LIMIT)
    must_match(must_return(outcomes))
    with subject.promise("PG-01"):
        first_rank_finishes(outcomes, ranks[0])
    if not subject.lacks("resharding"):
        must_match(subject.observe(1, on_ranks.load_with_replica, ranks))


@pytest.mark.clauses("PG-03")
def test_failures_are_named_by_rank_in_the_group(subject: Subject) -> None:
    fault = Fault(phase="write_data", ranks=(2,))
    outcomes = subject.run(3, on_ranks.save_with_fault_in_group, [1, 2], fault, timeout=LIMIT)
    attempts = must_return(outcomes)[1:]
    needs_reached(outcomes, "write_data", (2,))
    must_fail_everywhere(attempts)
    for place, attempt in enumerate(attempts):
        named = sorted(failures_of(attempt))
        must(
            named == [1],
            otherwise=f"global rank 2, 1 in the group [1, 2], failed; named were {named}",
            kind="ranks",
            rank=place + 1,
        )


@pytest.mark.clauses("PG-04")
def test_disjoint_groups_save_at_the_same_time(subject: Subject) -> None:
    subject.observe(4, on_ranks.save_in_two_groups, timeout=LIMIT)
    for number, ranks in enumerate(([0, 1], [2, 3])):
        loading = len(ranks) if subject.lacks("resharding") else 1
        must_match(subject.observe(loading, on_ranks.load_states_of, ranks, f"group{number}"))


@pytest.mark.clauses("PG-07")
def test_group_wrapper_translates_ranks_on_the_rows_of_a_mesh(subject: Subject) -> None:
    for rank, wrong in enumerate(subject.observe(4, on_ranks.mesh_rows, timeout=LIMIT)):
        must(not wrong, otherwise="; ".join(wrong), kind="rank", rank=rank)


@pytest.mark.clauses("PG-12")
@pytest.mark.parametrize("grouped", (False, True), ids=("no_group", "group_given"))
@pytest.mark.parametrize("active", (0, 1))
def test_one_rank_alone_saves_and_loads_with_no_dist(subject: Subject, active: int, grouped: bool) -> None:
    must_match(subject.observe(2, on_ranks.save_alone, active, grouped, timeout=LIMIT))
    must_match(subject.observe(1, on_ranks.load_states_of, [active]))


@pytest.mark.clauses("PG-13")
@pytest.mark.worlds(2, 4)
def test_storage_takes_its_role_from_set_up(subject: Subject, world: int) -> None:
    subject.observe(world, on_ranks.save_coordinated_by_last)
    must_match(subject.observe(world, on_ranks.load_coordinated_by_last))
    loading = world if subject.lacks("resharding") else 1
    must_match(subject.observe(loading, on_ranks.load_states_of, list(range(world))))


@pytest.mark.clauses("PG-14")
def test_timeout_of_the_group_applies_and_no_shorter_one(subject: Subject) -> None:
    outcomes = subject.run(6, on_ranks.save_under_two_timeouts, timeout=LIMIT)
    attempts = must_return(outcomes)
    needs_reached(outcomes, "write_data", (1, 3))
    must_refuse(attempts[0], "a save whose peer was stopped for longer than the group's timeout", rank=0)
    for rank in (2, 3, 4, 5):
        what = "paused for 8 s" if rank < 4 else "came 8 s late"
        must_succeed(attempts[rank], f"a save on a group of 300 s in which one rank {what}", rank=rank)


@pytest.mark.clauses("PG-08", "PG-09")
@pytest.mark.worlds(2, 4)
def test_independent_ranks_save_and_load_their_own(subject: Subject, world: int) -> None:
    outcomes = subject.run(world, on_ranks.save_independently, world - 1, timeout=LIMIT)
    stored = must_return(outcomes)
    with subject.promise("PG-08"):
        nobody_waited_for_plans(outcomes, late=world - 1)
        # The names of data files are free (FMT-02): metadata says where they are. A reader asks for it by name.
        wanted = {f"__{rank}.metadata" for rank in range(world)}
        missing = sorted(wanted - set(stored[-1]))
        must(
            not stored[-1] or not missing,
            otherwise=f"torch's format has {missing} for ranks that save alone; they are missing",
        )
        must_match(subject.observe(world, on_ranks.load_independently))
    with subject.promise("PG-09"):
        must_match(subject.observe(world, on_ranks.load_independently))


@pytest.mark.clauses("PG-11")
@pytest.mark.worlds(2)
def test_independent_checkpoint_serves_another_layout_or_refuses(subject: Subject, world: int) -> None:
    subject.observe(world, on_ranks.save_independently, 0, timeout=LIMIT)
    for rank, (attempt, found) in enumerate(subject.observe(world, on_ranks.load_replicated, timeout=LIMIT)):
        if attempt.ok and found:
            raise Broken(f"a load as a whole tensor succeeded, and {found[0].sentence()}", kind="values", rank=rank)


def first_rank_finishes(outcomes: Sequence[Outcome], first: int) -> None:
    """Broken unless the first rank of the group, and no other, committed."""
    finished = {
        o.rank for o in outcomes for event in o.events if event.kind == "call" and event.data["name"] == "finish"
    }
    if not finished:
        raise Untestable("no call of finish was seen: the engine does not commit through the storage")
    must(
        finished == {first},
        otherwise=f"finish was called on ranks {sorted(finished)}; rank {first} is the first of the group",
    )


def nobody_waited_for_plans(outcomes: Sequence[Outcome], *, late: int) -> None:
    """Broken if ranks that save alone wrote their data only after the late one had started."""
    written = {
        o.rank: [e.at for e in o.events if e.kind == "call" and e.data["name"] == "write_data"] for o in outcomes
    }
    calls = [e.at for e in outcomes[late].events if e.kind == "call" and e.data["name"] == "set_up_storage_writer"]
    for rank, times in written.items():
        if times and calls and rank != late and min(times) > min(calls):
            raise Broken(
                f"it wrote its data only after rank {late}, which was late, had started", kind="waited", rank=rank
            )
