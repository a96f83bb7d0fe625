"""A checkpoint belongs to no layout and no world size: every layout loads as every other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.distributed.sharding.pairs import CLAUSES, judge_pairs, pairs

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.sharding import on_ranks_layouts as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.sharding.on_ranks_layouts")

WORLDS = (1, 2, 3, 4)


@pytest.mark.clauses(*CLAUSES)
@pytest.mark.worlds(2, 3, 4)
def test_every_layout_loads_as_every_other(subject: Subject, world: int) -> None:
    subject.observe(world, on_ranks.save_all, fresh=True)
    for wanted in (world,) if subject.lacks("resharding") else WORLDS:
        found = subject.observe(wanted, on_ranks.load_all, world, fresh=wanted > 1)
        judge_pairs(subject, CLAUSES, pairs(world, wanted), found)


@pytest.mark.clauses("REPL-03", "RES-06", "RES-19", "RES-20")
def test_checkpoint_of_one_process_loads_in_every_layout(subject: Subject) -> None:
    subject.needs("resharding")
    subject.observe(1, on_ranks.save_all)
    for wanted in WORLDS[1:]:
        found = subject.observe(wanted, on_ranks.load_all, 1, fresh=True)
        judge_pairs(subject, ("REPL-03", "RES-06", "RES-19", "RES-20"), pairs(1, wanted), found)
