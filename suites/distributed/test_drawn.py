"""Every pair of values that can meet on several ranks meets: layouts, worlds, what each rank has, what was there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import Outcome, Returned
from dcp_conformance.harness.laws.drawn import broken
from dcp_conformance.harness.states.model_on_ranks import IN_ONE_LAYOUT, ON_RANKS, layout_of
from dcp_conformance.harness.states.varied import Combination
from dcp_conformance.harness.subject.drawn import Drawing
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed import on_ranks_drawn as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.on_ranks_drawn")

CLAUSES = {
    "tensor": ("RES-07", "SHARD-07"),
    "own": ("PLAN-06", "FIN-03"),
    "input": ("WRITE-06",),
}


@pytest.mark.clauses("FIN-03", "PLAN-06", "RES-07", "SHARD-07", "WRITE-06")
def test_any_state_of_ranks_comes_back_in_any_layout(subject: Subject) -> None:
    subject.needs("multi_process")
    model = IN_ONE_LAYOUT if subject.lacks("resharding") else ON_RANKS
    Drawing(
        title="several ranks", model=model, play=played, clauses=CLAUSES, together=lambda row: str(worlds(row))
    ).judge(subject)


def worlds(row: Combination) -> tuple[int, int]:
    """The sizes of the worlds that a combination is saved and loaded in."""
    return layout_of(row["saved"])[0], layout_of(row["wanted"])[0]


def played(subject: Subject, rows: list[Combination], name: str) -> list[Outcome]:
    """The combinations, saved on one world and loaded on another; the outcomes of the step that failed, or the last."""
    saved, wanted = worlds(rows[0])
    outcomes = subject.run(saved, on_ranks.save_rows, rows, name, group=True, fresh=True)
    if all(isinstance(outcome, Returned) and not any(map(broken, outcome.value)) for outcome in outcomes):
        return subject.run(wanted, on_ranks.load_rows, rows, name, group=True, fresh=True)
    return outcomes
