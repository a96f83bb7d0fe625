"""async_save stores what was there when it was called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.asynchronous import on_ranks_snapshot as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.asynchronous.on_ranks_snapshot")


@pytest.mark.clauses("ASYNC-02")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("kind", ("default", "late"))
def test_changes_after_staging_do_not_reach_the_checkpoint(subject: Subject, world: int, kind: str) -> None:
    must_match(subject.observe(world, on_ranks.mutate_after_staging, kind))


@pytest.mark.clauses("ASYNC-02")
def test_changes_of_a_buffer_after_staging_do_not_reach_its_views(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.mutate_views_after_staging))


@pytest.mark.clauses("ASYNC-27")
@pytest.mark.parametrize("stager", (False, True), ids=("no_stager", "default_stager"))
def test_lazy_and_strided_values_are_stored_as_they_are(subject: Subject, stager: bool) -> None:
    found = subject.alone(on_ranks.save_lazy_values, stager)
    must_match([found])


@pytest.mark.clauses("ASYNC-24")
def test_writer_that_stages_cuts_values_off_from_later_changes(subject: Subject) -> None:
    found = subject.alone(on_ranks.mutate_after_staging, "writer")
    must_match([found])


@pytest.mark.clauses("ASYNC-17")
@pytest.mark.worlds(2, 4)
def test_sharded_values_are_staged_with_their_layout(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.sharded_values))


@pytest.mark.clauses("ASYNC-25")
def test_writer_and_reader_work_in_another_thread(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.save_and_load_in_a_thread))
