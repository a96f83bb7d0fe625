"""Plan caches never spoil a save, and planners that users write work as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dcp_conformance.harness.laws.verbs import (
    NotApplicable,
    must,
    must_match,
    must_refuse,
    must_return,
    must_succeed,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.distributed.planning import plans

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.planning import on_ranks_planners as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.planning.on_ranks_planners")


def offered(values: list[Any]) -> list[Any]:
    """The values; NotApplicable where the planner caches no plans."""
    if values[0] is None:
        raise NotApplicable("the planner has no caching of plans, or the engine takes no planner")
    return values


@pytest.mark.clauses("GLOB-14")
def test_cached_plan_does_not_hide_a_changed_state(subject: Subject) -> None:
    must_match(offered(subject.observe(1, on_ranks.changed_states)))


@pytest.mark.clauses("GLOB-14")
@pytest.mark.worlds(2, 3)
def test_cached_plan_stores_the_new_values_of_shards(subject: Subject, world: int) -> None:
    must_match(offered(subject.observe(world, on_ranks.caching_of_shards)))


@pytest.mark.clauses("GLOB-15")
def test_metadata_of_an_earlier_save_stays_as_it_was(subject: Subject) -> None:
    changed = offered(subject.observe(1, on_ranks.metadata_of_earlier_save))[0]
    must(
        not changed,
        otherwise=f"after later saves, in the metadata of an earlier one, {'; '.join(changed)}"[:400],
        kind="metadata changed",
    )


@pytest.mark.clauses("GLOB-16")
@pytest.mark.parametrize("phase", ("prepare_local_plan", "prepare_global_plan", "write_data", "finish"))
def test_failed_save_leaves_no_spoilt_plan_cache(subject: Subject, phase: str) -> None:
    outcomes = subject.run(2, on_ranks.save_after_failure, phase)
    found = offered(must_return(outcomes))
    needs_reached(outcomes, phase, (0,) if phase in ("prepare_global_plan", "finish") else (1,))
    for rank, (failed, later, _found) in enumerate(found):
        must_refuse(failed, "the save with a fault", rank=rank)
        must_succeed(later, "the save after a failed one with the same plan cache", rank=rank)
    must_match([differences for _failed, _later, differences in found])


@pytest.mark.clauses("GLOB-17")
@pytest.mark.worlds(2, 3, 4)
def test_planner_that_spreads_replicas_works_unchanged(subject: Subject, world: int) -> None:
    found = subject.observe(world, on_ranks.spread_by_planner)
    results = [result for result, _found in found]
    if any(results):
        plans.spread(plans.seen(results), -(-8 // world))
    must_match([differences for _results, differences in found])


@pytest.mark.clauses("WRITE-01", "GLOB-17")
def test_shards_of_a_rank_are_told_apart_without_hints(subject: Subject) -> None:
    must_match(subject.observe(2, on_ranks.several_without_hints, group=True, fresh=True))
