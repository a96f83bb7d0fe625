"""Repetition costs nothing that stays."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import holds, returned
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.scale.on_ranks_handles")
OPERATIONS = 40


@pytest.mark.clauses("RSRC-05")
def test_file_handles_do_not_grow_with_operations(subject: Subject) -> None:
    [(early, late)] = returned(subject.run(1, on_ranks.handles_over_operations, OPERATIONS))
    holds(
        late <= early + 2,
        f"{early} descriptors were open after 3 operations and {late} after {OPERATIONS}",
        kind="handles",
    )
