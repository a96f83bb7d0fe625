"""Repetition costs nothing that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.scale import on_ranks_handles as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.scale.on_ranks_handles")

OPERATIONS = 40


@pytest.mark.clauses("RSRC-05")
def test_file_handles_do_not_grow_with_operations(subject: Subject) -> None:
    (early, late) = subject.alone(on_ranks.handles_over_operations, OPERATIONS)
    must(
        late <= early + 2,
        otherwise=f"{early} descriptors were open after 3 operations and {late} after {OPERATIONS}",
        kind="handles",
    )
