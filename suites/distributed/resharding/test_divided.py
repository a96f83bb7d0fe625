"""A load whose ranks do not see the same checkpoint is an error on all of them, and no state that was never saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must_refuse, must_succeed
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.resharding import on_ranks_divided as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.resharding.on_ranks_divided")


@pytest.mark.clauses("RES-24")
@pytest.mark.worlds(2, 3)
@pytest.mark.parametrize("other", ("save", "keys", "nothing"))
@pytest.mark.parametrize("first", (True, False), ids=("coordinator", "last_rank"))
def test_ranks_that_see_different_checkpoints_fail_together(
    subject: Subject, world: int, other: str, first: bool
) -> None:
    apart = 0 if first else world - 1
    for rank, (together, divided) in enumerate(subject.observe(world, on_ranks.load_divided, other, apart)):
        must_succeed(together, "a load whose ranks see one checkpoint", rank=rank)
        sees = {"save": "another save", "keys": "a save of other keys", "nothing": "nothing"}[other]
        must_refuse(divided, f"a load in which rank {apart} saw {sees} under the id", rank=rank)
