"""Stream transforms are applied to everything, recorded, and undone from what was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.shared_failures import failures_of
from dcp_conformance.harness.laws.verbs import described, must, must_match, must_name
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.compatibility.extensions import on_ranks_extensions as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.compatibility.extensions.on_ranks_extensions")


# Two transforms that may be exchanged, and two that may not: only these tell in which order they are undone.
CHAINS = {"one": ["turn"], "exchangeable": ["flip", "mask"], "in order": ["turn", "flip"]}


@pytest.mark.clauses("EXT-01")
@pytest.mark.parametrize("chain", CHAINS)
def test_transforms_apply_to_every_entry_in_order(subject: Subject, chain: str) -> None:
    given = CHAINS[chain]
    (idle, recorded, by_hand) = subject.alone(on_ranks.chained, given)
    must(not idle, otherwise=f"of the transforms {given} it never used {idle}", kind="not applied")
    undo = [[f"conformance.{name}/1" for name in reversed(given)]]
    must(recorded in ([], undo), otherwise=f"the entries record {recorded} instead of {undo}", kind="recorded")
    must_match(subject.observe(1, on_ranks.chained_and_undone, given))
    must_match([by_hand], "an entry, read by undoing what it records,")


@pytest.mark.clauses("EXT-02")
def test_reader_undoes_transforms_from_what_is_recorded(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.known_to_reader))


@pytest.mark.clauses("EXT-03")
def test_unknown_transform_fails_the_load_with_its_name(subject: Subject) -> None:
    attempt = subject.alone(on_ranks.unknown_to_reader)
    raised = must_name(attempt, ["conformance.turn"], "loading what an unknown transform changed", rank=0)
    told = list(failures_of(attempt).values()) or [raised]
    must(
        any(error.is_a("ValueError") for error in told),
        otherwise=f"it raised {described(raised)}, not a ValueError",
    )


@pytest.mark.clauses("EXT-04")
def test_plain_entries_load_with_any_registry(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.plain_with_any_registry))


@pytest.mark.clauses("EXT-05")
def test_closing_a_transform_writes_out_what_it_holds_back(subject: Subject) -> None:
    (opened, closed, unlike) = subject.alone(on_ranks.held_back)
    must_match([unlike])
    must(opened == closed, otherwise=f"it closed {closed} of {opened} streams of the transform", kind="not closed")


@pytest.mark.clauses("EXT-06")
def test_transforms_need_not_seek(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.not_seekable))
