"""Storage that stores nothing and a planner that plans nothing: for scenarios that ask one side only."""

from __future__ import annotations

from typing import Any

from torch.distributed.checkpoint import LoadPlan, LoadPlanner, Metadata, SavePlan, SavePlanner, StorageWriter
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future


class Nowhere(StorageWriter):
    """Stores nothing; says of every item that it is stored, or reports nothing at all (`silent`)."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent

    def reset(self, checkpoint_id: Any = None) -> None:
        """There is nothing to forget."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """There is nothing to set up."""

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        told = [] if self._silent else plan.items
        done: Future[list[WriteResult]] = Future()
        done.set_result([WriteResult(index=item.index, size_in_bytes=4, storage_data=None) for item in told])
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """There is nothing to commit."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


class HandLoadPlanner(LoadPlanner):
    """A planner without a plan, for a reader that is handed its plan directly; it wants no object."""

    def set_up_planner(self, state_dict: Any, metadata: Metadata | None = None, is_coordinator: bool = False) -> None:
        """Do nothing: the plan is made by hand."""

    def create_local_plan(self) -> LoadPlan:
        return LoadPlan([])

    def create_global_plan(self, global_plan: list[LoadPlan]) -> list[LoadPlan]:
        return global_plan

    def finish_plan(self, central_plan: LoadPlan) -> LoadPlan:
        return central_plan

    def load_bytes(self, read_item: ReadItem, value: Any) -> None:
        """Do nothing: no object is asked for."""
