"""One rank writes what several hold, the work is shared out, and the metadata covers it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.distributed.planning import plans

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.planning import on_ranks_global_plans as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.planning.on_ranks_global_plans")


@pytest.mark.clauses("GLOB-01", "GLOB-02", "REPL-03")
@pytest.mark.worlds(2, 3, 4)
def test_shared_values_are_written_once_and_own_values_kept(subject: Subject, world: int) -> None:
    results, found = zip(*subject.observe(world, on_ranks.shared_and_own), strict=True)
    with subject.promise("GLOB-01"):
        plans.written_once(plans.seen(results))
    for clause in ("GLOB-02", "REPL-03"):
        with subject.promise(clause):
            must_match(found)


@pytest.mark.clauses("GLOB-02")
@pytest.mark.worlds(2, 3)
def test_names_that_end_like_offsets_are_not_taken_for_them(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.names_like_offsets))


@pytest.mark.clauses("GLOB-03")
@pytest.mark.worlds(2, 4)
def test_lowest_rank_writes_what_all_hold_when_asked(subject: Subject, world: int) -> None:
    results = plans.seen(subject.observe(world, on_ranks.equal_replicas, True))
    plans.written_by(results, [f"t{key}" for key in range(8)], 0)


@pytest.mark.clauses("GLOB-04")
def test_equal_replicas_are_shared_out(subject: Subject) -> None:
    plans.spread(plans.seen(subject.observe(2, on_ranks.equal_replicas)), 6)


@pytest.mark.clauses("GLOB-05")
@pytest.mark.worlds(2, 3)
def test_same_plans_have_the_same_owners(subject: Subject, world: int) -> None:
    runs = subject.observe(world, on_ranks.owners_in_three_runs)
    plans.same_owners([plans.seen(turn) for turn in zip(*runs, strict=True)])


@pytest.mark.clauses("GLOB-06")
def test_shard_weighs_what_it_writes(subject: Subject) -> None:
    results = plans.seen(subject.observe(4, on_ranks.sharded_among_replicas, fresh=True))
    sizes = {"a": 1000, **{f"piece{key}": 100 for key in range(40)}}
    # Counted as the whole tensor each half weighs 2000: its writers get nothing else, and the others 2000 elements.
    plans.balanced(results, sizes, ranks=4, tolerance=1.25)


@pytest.mark.clauses("GLOB-07")
@pytest.mark.worlds(2, 4)
def test_hints_point_at_their_chunks(subject: Subject, world: int) -> None:
    wrong = subject.observe(world, on_ranks.hints)
    for name, hint, own, there in wrong[0]:
        must(
            False,
            otherwise=f"the hint {hint} of {name!r} leads to the chunk {there}, and its own is {own}",
            kind="hint",
        )


@pytest.mark.clauses("GLOB-12")
@pytest.mark.worlds(2, 3, 4)
def test_coordinator_alone_prepares_all_plans_in_rank_order(subject: Subject, world: int) -> None:
    calls = subject.observe(world, on_ranks.plans_by_rank, True)
    plans.plans_in_order(calls, [[f"own{rank}-{n}" for n in range(rank + 1)] for rank in range(world)])
    plans.plans_returned(calls)


@pytest.mark.clauses("GLOB-12")
@pytest.mark.worlds(2, 3)
def test_ranks_that_save_alone_prepare_their_own_plan(subject: Subject, world: int) -> None:
    calls = subject.observe(world, on_ranks.plans_by_rank, False)
    plans.own_plan_only(calls, [[f"own{rank}-{n}" for n in range(rank + 1)] for rank in range(world)])
    plans.plans_returned(calls)


@pytest.mark.clauses("GLOB-13")
@pytest.mark.worlds(2, 3)
def test_metadata_has_the_path_of_every_key(subject: Subject, world: int) -> None:
    found = subject.observe(world, on_ranks.nested_paths)
    plans.paths_complete(found, [*(("model", f"layer{rank}", "weight") for rank in range(world)), ("top",)])
