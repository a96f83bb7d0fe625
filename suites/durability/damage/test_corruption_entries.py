"""Entries in torch's format that are not where the metadata says they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import Died, Hung
from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    death_finding,
    hang_finding,
    must_match,
    must_return,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.durability.damage.damages import LONGEST_LOAD

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.damage import on_ranks_wrong_entries as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.damage.on_ranks_wrong_entries")

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.damage import on_ranks_damaged_ranks as between_ranks
else:
    between_ranks = module_on_ranks("dcp_conformance.suites.durability.damage.on_ranks_damaged_ranks")

MOST_MEMORY = 64 << 20


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-04")
def test_exchanged_entries_of_equal_size_are_noticed(subject: Subject) -> None:
    subject.needs("torch_format")
    observed = subject.alone(on_ranks.load_with_exchanged_entries)
    must_match([observed["differences"]], "with the metadata entries of two tensors exchanged, the loaded state")


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-04")
def test_exchanged_objects_of_two_ranks_are_noticed(subject: Subject) -> None:
    outcomes = subject.run(2, between_ranks.save_by_rank, "tensor")
    must_return(outcomes)
    observed = subject.alone(between_ranks.exchange_between_ranks, 2)
    if not observed["rows"]:
        raise NotApplicable("the checkpoint of two ranks has no two objects of equal size and other contents")
    for row in observed["rows"]:
        if row["wrong"]:
            raise Broken(
                f"with {row['damage']} the load returned, and {row['wrong']}", kind="silent corruption", rank=0
            )


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-06", "CORR-11")
def test_wrong_places_of_entries_are_noticed_before_memory_is_taken(subject: Subject) -> None:
    subject.needs("torch_format")
    rows, lost, start, total = [], [], 0, None
    while total is None or start < total:
        outcomes = subject.run(1, on_ranks.loads_with_wrong_places, start, timeout=LONGEST_LOAD)
        outcome = outcomes[0]
        if isinstance(outcome, Died | Hung):
            lost.append(outcome)
            start = 1 + [event.data["number"] for event in outcome.events if event.kind == "damage"][-1]
            total = total if total is not None or len(lost) < 3 else start
            continue
        [observed] = must_return(outcomes)
        rows += observed["rows"]
        start = total = observed["total"]
    with subject.promise("CORR-06"):
        for outcome in lost:
            raise death_finding(outcome) if isinstance(outcome, Died) else hang_finding([outcome])
    with subject.promise("CORR-11"):
        for row in rows:
            place_was_checked(row)


def place_was_checked(row: dict[str, object]) -> None:
    """Broken unless a load with a wrong place was refused, without taking memory by it."""
    stated = f"with {row['edit']} stated for the entry {row['key']!r}"
    kinds, grown = row["kinds"], row["grown"]
    assert isinstance(kinds, list) and isinstance(grown, int)
    if not kinds:
        raise Broken(f"{stated} the load returned", kind="not refused", rank=0)
    if "MemoryError" in kinds:
        raise Broken(f"{stated} it asked for that much memory: {row['error']}", kind="memory", rank=0)
    if grown > MOST_MEMORY:
        raise Broken(f"{stated} it took {grown >> 20} MiB before it noticed", kind="memory", rank=0)
