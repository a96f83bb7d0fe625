"""A checkpoint belongs to no world size and no layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.resharding import on_ranks_resharding as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.resharding.on_ranks_resharding")


@pytest.mark.clauses("RES-19")
@pytest.mark.worlds(2, 4)
@pytest.mark.parametrize("dim", (0, 1), ids=("rows", "columns"))
def test_sharded_checkpoint_loads_whole_in_one_process(subject: Subject, world: int, dim: int) -> None:
    subject.observe(world, on_ranks.save_sharded, dim)
    must_match(subject.observe(1, on_ranks.load_whole, world))


@pytest.mark.clauses("RES-07")
@pytest.mark.worlds(2, 4)
@pytest.mark.parametrize(("saved", "wanted"), ((0, 1), (1, 0)), ids=("rows", "columns"))
def test_rows_load_as_columns_and_columns_as_rows(subject: Subject, world: int, saved: int, wanted: int) -> None:
    subject.observe(world, on_ranks.save_sharded, saved)
    must_match(subject.observe(world, on_ranks.load_sharded, wanted))
