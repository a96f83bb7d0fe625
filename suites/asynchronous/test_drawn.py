"""Every pair of values that can meet in a background save meets: what is staged, and what happens meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import Outcome
from dcp_conformance.harness.states.model_async import IN_BACKGROUND
from dcp_conformance.harness.states.varied import Combination
from dcp_conformance.harness.subject.drawn import Drawing
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.asynchronous import on_ranks_drawn as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.asynchronous.on_ranks_drawn")

CLAUSES = {
    "stored": ("ASYNC-27", "TYPE-02"),
    "cut off": ("ASYNC-02",),
    "overlap": ("ASYNC-09",),
    "again": ("ASYNC-03", "TYPE-02"),
    "input": ("WRITE-06",),
    "place": ("INPL-01",),
    "unasked": ("PART-03",),
}


@pytest.mark.clauses("ASYNC-02", "ASYNC-03", "ASYNC-09", "ASYNC-27", "INPL-01", "PART-03", "TYPE-02", "WRITE-06")
def test_any_state_is_stored_in_the_background_as_it_was_at_the_call(subject: Subject) -> None:
    subject.needs("async_save")
    Drawing(title="in the background", model=IN_BACKGROUND, play=played, clauses=CLAUSES).judge(subject)


def played(subject: Subject, rows: list[Combination], name: str) -> list[Outcome]:
    """The combinations in one process."""
    return subject.run(1, on_ranks.saved_in_background, rows, name)
