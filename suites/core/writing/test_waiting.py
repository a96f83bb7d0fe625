"""A storage does what it is asked, whatever the other ranks are doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.writing import on_ranks_waiting as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.writing.on_ranks_waiting")


@pytest.mark.clauses("WRITE-21")
@pytest.mark.worlds(2)
@pytest.mark.parametrize("first", (0, 1))
def test_storage_waits_for_no_other_rank(subject: Subject, world: int, first: int) -> None:
    observed = subject.observe(world, on_ranks.save_and_load_by_turns, first)
    waited = next((turns.waited for turns in observed if turns.waited), "")
    must(
        not waited,
        otherwise=f"its {waited} had not returned after 8 s, while rank {1 - first} had not been asked to do the same",
        kind="waits",
        rank=first,
    )
    must_match([turns.found for turns in observed])
