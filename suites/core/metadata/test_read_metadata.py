"""Metadata is read on every rank, the same on all, never made up, and only read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.shared_failures import CHECKPOINT_EXCEPTION, must_blame_exactly, must_fail_everywhere
from dcp_conformance.harness.laws.verbs import (
    Broken,
    Untestable,
    described,
    must,
    must_match,
    must_refuse,
    must_return,
    must_succeed,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.metadata import on_ranks_read_metadata as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.metadata.on_ranks_read_metadata")

# A rank that waits for another one for ever is seen within this time.
DISAGREEMENT_LIMIT = 8.0
NO_MODE = "save has no use_collectives, so there is no rank-local metadata"


@pytest.mark.clauses("RMD-01")
@pytest.mark.parametrize("ranks", ((0,), (2,), (1, 3)), ids=("rank0", "rank2", "ranks1and3"))
def test_metadata_that_one_rank_cannot_read_fails_the_load_of_all(subject: Subject, ranks: tuple[int, ...]) -> None:
    outcomes = subject.run(4, on_ranks.load_with, Fault(phase="read_metadata", ranks=ranks))
    attempts = must_return(outcomes)
    needs_reached(outcomes, "read_metadata", ranks)
    must_fail_everywhere(attempts)
    must_blame_exactly(attempts, ranks)


@pytest.mark.clauses("RMD-02")
@pytest.mark.parametrize("exception", ("ValueError", "OSError", "KeyError"))
def test_unreadable_metadata_surfaces_as_checkpoint_exception(subject: Subject, exception: str) -> None:
    outcomes = subject.run(1, on_ranks.load_with, Fault(phase="read_metadata", ranks=(0,), exception=exception))
    [attempt] = must_return(outcomes)
    needs_reached(outcomes, "read_metadata", (0,))
    must_refuse(attempt, "a load whose metadata could not be read", rank=0)
    if not attempt.error.is_a(CHECKPOINT_EXCEPTION):
        raise Broken(
            f"the load raised {described(attempt.error)}, not a {CHECKPOINT_EXCEPTION}", kind="other exception"
        )


@pytest.mark.clauses("RMD-03")
@pytest.mark.worlds(1, 2)
def test_rank_local_metadata_is_read_where_there_is_no_global_one(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.load_rank_local)
    for rank, seen in enumerate(observed):
        ignored = (
            "which read_metadata was given rank= for" if seen.asked else "which read_metadata was given no rank for"
        )
        must_succeed(seen.load, f"a load of rank-local metadata, {ignored}", rank=rank)
    what = "the loaded state (read_metadata was given rank=)" if observed[0].asked else "the loaded state"
    must_match([seen.found for seen in observed], what)


@pytest.mark.clauses("RMD-04")
@pytest.mark.below_storage
@pytest.mark.parametrize("content", ("both", "objects", "tensors"))
def test_damaged_object_is_an_error_or_does_no_harm(subject: Subject, content: str) -> None:
    observed = subject.alone(on_ranks.damaged_objects, content)
    if not observed:
        raise Untestable("the stored bytes cannot be reached")
    torch_format = subject.alone(on_ranks.in_torch_format)
    for name, way, loaded, found in observed:
        must(not found, otherwise=f"with {name} {way}, a load returned, and {'; '.join(found)}", kind="made up")
        if torch_format and name == ".metadata":
            must(
                not loaded,
                otherwise=f"with {name} {way}, a load returned as if nothing had happened",
                kind="not refused",
            )


@pytest.mark.clauses("RMD-05")
@pytest.mark.below_storage
def test_metadata_of_older_writers_is_accepted(subject: Subject) -> None:
    observed = subject.alone(on_ranks.stripped_metadata)
    for what, attempt, found, load_id in observed:
        must_succeed(attempt, f"a load of metadata {what}", rank=0)
        must_match([found], f"the state loaded from metadata {what}")
        must(
            load_id, otherwise=f"metadata {what} was read without a storage_meta that has a load id", kind="no load id"
        )


@pytest.mark.clauses("RMD-06")
def test_ranks_that_see_different_metadata_decide_alike(subject: Subject) -> None:
    observed = subject.observe(2, on_ranks.load_with_different_views, timeout=DISAGREEMENT_LIMIT)
    ended = [attempt.ok for attempt, _, _ in observed]
    if any(ended) and not all(ended):
        raise Broken(
            f"the load returned on rank {ended.index(True)} and raised on rank {ended.index(False)}", kind="disagree"
        )
    if all(ended):
        modes = [told for _, told, _ in observed]
        must(modes[0] == modes[1], otherwise=f"the ranks' readers were told use_collectives={modes}", kind="disagree")
        must_match([found for _, _, found in observed])


@pytest.mark.clauses("RMD-07")
def test_older_global_metadata_is_not_used_in_silence(subject: Subject) -> None:
    observed = subject.alone(on_ranks.newer_rank_local)
    must_match([observed[1]], "the state loaded after a newer save with rank-local metadata")


@pytest.mark.clauses("RMD-08")
@pytest.mark.below_storage
def test_corrupt_global_metadata_is_not_hidden_by_a_rank_local_one(subject: Subject) -> None:
    attempt = subject.alone(on_ranks.corrupt_global_beside_local)
    must_refuse(attempt, "a load with a corrupt .metadata beside a sound __0.metadata", rank=0)


@pytest.mark.clauses("RMD-09")
def test_loads_change_nothing_that_is_stored(subject: Subject) -> None:
    observed = subject.alone(on_ranks.loads_change_nothing)
    must_succeed(observed[0][1], "a load of everything", rank=0)
    for what, _, changed in observed:
        must(not changed, otherwise=f"a {what} changed the checkpoint: {'; '.join(changed)}", kind="changed")


@pytest.mark.clauses("RMD-10")
@pytest.mark.below_storage
def test_reading_is_enough_to_load(subject: Subject) -> None:
    (achieved, attempt, found) = subject.alone(on_ranks.load_read_only)
    if not achieved:
        raise Untestable("the checkpoint could not be made read-only for this process")
    must_succeed(attempt, "a load of a checkpoint that may only be read", rank=0)
    must_match([found])
