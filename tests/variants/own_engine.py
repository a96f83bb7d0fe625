"""An engine that takes an id and nothing of storage or planners: both are its own business, and so is its planner.

It exports no planner, no async_save and no storage pair; its planners give every value a name of their own making
inside, which nobody outside sees.
"""

from __future__ import annotations

import os
from typing import Any

from dcp_conformance import reference_impl
from dcp_conformance.harness.backend.record import Backend


class _SavePlanner(reference_impl.DefaultSavePlanner):
    """Orders what is written by size, the largest first."""

    def create_local_plan(self) -> Any:
        plan = super().create_local_plan()
        plan.items.sort(key=lambda item: 0 if item.tensor_data is None else -item.tensor_data.chunk.sizes.numel())
        return plan


class _LoadPlanner(reference_impl.DefaultLoadPlanner):
    """Reads in the order of names."""

    def create_local_plan(self) -> Any:
        plan = super().create_local_plan()
        plan.items.sort(key=lambda item: str(item.dest_index.fqn))
        return plan


def save(
    state_dict: Any,
    *,
    checkpoint_id: str | os.PathLike[str] | None = None,
    process_group: Any = None,
    no_dist: bool = False,
) -> Any:
    """Save to a folder."""
    writer = None if checkpoint_id is None else reference_impl.FileSystemWriter(checkpoint_id)
    return reference_impl.save(
        state_dict, checkpoint_id=checkpoint_id, storage_writer=writer, planner=_SavePlanner(),
        process_group=process_group, no_dist=no_dist,
    )  # fmt: skip


def load(
    state_dict: Any,
    *,
    checkpoint_id: str | os.PathLike[str] | None = None,
    process_group: Any = None,
    no_dist: bool = False,
) -> None:
    """Load from a folder."""
    reader = None if checkpoint_id is None else reference_impl.FileSystemReader(checkpoint_id)
    reference_impl.load(
        state_dict, checkpoint_id=checkpoint_id, storage_reader=reader, planner=_LoadPlanner(),
        process_group=process_group, no_dist=no_dist,
    )  # fmt: skip


backend = Backend(
    name="own_engine",
    save=save,
    load=load,
    unsupported={
        "async_save": "it has no async_save",
        "async_process": "it has no async_save",
        "rank_local_metadata": "all ranks save together",
    },
)
