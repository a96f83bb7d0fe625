"""Every pair of values that can meet in one process meets: what is saved, how, over what, and how it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import Outcome
from dcp_conformance.harness.states.model import ALONE
from dcp_conformance.harness.states.varied import Combination
from dcp_conformance.harness.subject.drawn import Drawing
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core import on_ranks_drawn as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.on_ranks_drawn")

# What an engine promises of any state (FIN-04) is what storage, planner and engine promise of their parts together.
CLAUSES = {
    "tensor": ("TYPE-02", "FIN-04"),
    "exotic": ("TYPE-15", "FIN-04"),
    "object": ("BYTE-01", "FIN-04"),
    "old": ("FIN-06",),
    "input": ("WRITE-06",),
    "place": ("INPL-01",),
    "unasked": ("PART-03",),
    "other id": ("API-07",),
}


@pytest.mark.clauses("API-07", "BYTE-01", "FIN-04", "FIN-06", "INPL-01", "PART-03", "TYPE-02", "TYPE-15", "WRITE-06")
def test_any_state_comes_back_however_it_is_saved_and_loaded(subject: Subject) -> None:
    Drawing(title="one process", model=ALONE, play=played, clauses=CLAUSES).judge(subject)


def played(subject: Subject, rows: list[Combination], name: str) -> list[Outcome]:
    """The combinations in one process."""
    return subject.run(1, on_ranks.saved_and_loaded, rows, name)
