"""A checkpoint belongs to no world size and no layout."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import returned, same
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.distributed.resharding.on_ranks_resharding")


@pytest.mark.clauses("RES-19")
@pytest.mark.worlds(2, 4)
@pytest.mark.parametrize("dim", (0, 1), ids=("rows", "columns"))
def test_sharded_checkpoint_loads_whole_in_one_process(subject: Subject, world: int, dim: int) -> None:
    returned(subject.run(world, on_ranks.save_sharded, dim))
    same(returned(subject.run(1, on_ranks.load_whole, world)))


@pytest.mark.clauses("RES-07")
@pytest.mark.worlds(2, 4)
@pytest.mark.parametrize(("saved", "wanted"), ((0, 1), (1, 0)), ids=("rows", "columns"))
def test_rows_load_as_columns_and_columns_as_rows(subject: Subject, world: int, saved: int, wanted: int) -> None:
    returned(subject.run(world, on_ranks.save_sharded, saved))
    same(returned(subject.run(world, on_ranks.load_sharded, wanted)))
