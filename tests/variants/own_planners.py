"""A storage pair with planners of its own and no engine: items in the order of their names, backwards at a load."""

from __future__ import annotations

from dataclasses import replace

from torch.distributed.checkpoint import LoadPlan, SavePlan, default_planner

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _store


class DefaultSavePlanner(default_planner.DefaultSavePlanner):
    """Writes in the order of names."""

    def create_local_plan(self) -> SavePlan:
        plan = super().create_local_plan()
        return replace(plan, items=sorted(plan.items, key=lambda item: (item.index.fqn, str(item.index.offset))))


class DefaultLoadPlanner(default_planner.DefaultLoadPlanner):
    """Reads in the reverse order of names."""

    def create_local_plan(self) -> LoadPlan:
        plan = super().create_local_plan()
        return replace(plan, items=sorted(plan.items, key=lambda item: item.dest_index.fqn, reverse=True))


backend = Backend(
    writer=_store.Writer,
    reader=_store.Reader,
    unsupported=_store.UNSUPPORTED,
    utilities={"DefaultSavePlanner": DefaultSavePlanner, "DefaultLoadPlanner": DefaultLoadPlanner},
)
