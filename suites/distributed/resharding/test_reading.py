"""A reader delivers what a plan asks for: the right box, to the right target, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.resharding import on_ranks_reading as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.resharding.on_ranks_reading")


@pytest.mark.clauses("RES-10")
def test_reader_honours_offsets_and_lengths_of_random_boxes(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.random_boxes, 200, 20260))


@pytest.mark.clauses("RES-11")
def test_reader_resolves_fills_and_commits_each_item_once(subject: Subject) -> None:
    found, broken = subject.observe(1, on_ranks.delivered_aside)[0]
    must(not broken, otherwise="; ".join(broken), kind="planner calls")
    must_match([found])


@pytest.mark.clauses("RES-12")
def test_reader_copies_into_whatever_target_is_resolved(subject: Subject) -> None:
    for rows, columns in ((6, 8), (180, 220)):
        must_match(
            subject.observe(1, on_ranks.awkward_targets, rows, columns),
            f"a target of {rows} x {columns} elements",
        )


@pytest.mark.clauses("RES-22")
def test_reading_nothing_succeeds(subject: Subject) -> None:
    calls = subject.observe(1, on_ranks.empty_plan)[0]
    must(not calls, otherwise=f"the planner was called for nothing: {calls}", kind="planner calls")


@pytest.mark.clauses("RES-23")
def test_reader_enters_a_planner_from_one_thread_at_a_time(subject: Subject) -> None:
    problems = subject.observe(1, on_ranks.overlapping_calls)[0]
    must(not problems, otherwise="; ".join(problems[:2]), kind="overlapping calls")
