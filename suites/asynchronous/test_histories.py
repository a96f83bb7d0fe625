"""Random histories of a process that saves in the background too: each id holds what a dictionary says."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.states.histories import BACKGROUND
from dcp_conformance.harness.subject.histories import Histories
from dcp_conformance.harness.subject.subject import Subject

CLAUSES = {
    "last": ("FIN-04",),
    "old": ("FIN-06",),
    "other id": ("ASYNC-09", "FIN-14"),
    "retry": ("FIN-16",),
    "outdated": ("API-09",),
    "stored": ("ASYNC-02",),
}


@pytest.mark.clauses("API-09", "ASYNC-02", "ASYNC-09", "FIN-04", "FIN-06", "FIN-14", "FIN-16")
def test_any_history_with_background_saves_leaves_what_was_saved_last(subject: Subject) -> None:
    subject.needs("async_save")
    Histories(title="in the background", kinds=BACKGROUND, world=1, clauses=CLAUSES).judge(subject)
