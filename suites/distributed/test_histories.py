"""Random histories of two ranks: after every step each id holds what a dictionary says."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.states.histories import ORDINARY
from dcp_conformance.harness.subject.histories import Histories
from dcp_conformance.harness.subject.subject import Subject

CLAUSES = {
    "last": ("FIN-04",),
    "old": ("FIN-06",),
    "other id": ("FIN-14",),
    "retry": ("FIN-16",),
    "outdated": ("API-09",),
}


@pytest.mark.clauses("API-09", "FIN-04", "FIN-06", "FIN-14", "FIN-16")
def test_any_history_of_two_ranks_leaves_at_each_id_what_was_saved_there_last(subject: Subject) -> None:
    subject.needs("multi_process")
    Histories(title="two ranks", kinds=ORDINARY, world=2, clauses=CLAUSES).judge(subject)
