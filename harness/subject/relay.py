"""Planners and taps that look on: they leave everything to the real thing and let a scenario see or change one step."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.distributed.checkpoint import LoadPlan, LoadPlanner, Metadata, ReadItem, SavePlan, SavePlanner, WriteItem

from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.subject.session import Session

# What stands for an index in plain data: the key, and the offset of a shard.
Name = tuple[str, tuple[int, ...]]


class SaveRelay(SavePlanner):
    """A save planner that is `inner`, but for what `resolve(item, data)` gives to the writer.

    resolve: called in place of the writer's view of resolve_data, with the item and what `inner` resolves it to.
    """

    def __init__(self, inner: SavePlanner, resolve: Callable[[WriteItem, Any], torch.Tensor | io.BytesIO]) -> None:
        self.inner, self.resolve = inner, resolve

    def set_up_planner(self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False) -> None:
        self.inner.set_up_planner(state_dict, storage_meta, is_coordinator)

    def create_local_plan(self) -> SavePlan:
        return self.inner.create_local_plan()

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        return self.inner.create_global_plan(all_plans)

    def finish_plan(self, new_plan: SavePlan) -> SavePlan:
        return self.inner.finish_plan(new_plan)

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        return self.resolve(write_item, self.inner.resolve_data(write_item))


class LoadRelay(LoadPlanner):
    """A load planner that is `inner`, but shows each object's bytes and each tensor request to `seen` first."""

    def __init__(self, inner: LoadPlanner, seen: Callable[[ReadItem, Any], None]) -> None:
        self.inner, self.seen = inner, seen

    def set_up_planner(self, state_dict: Any, metadata: Any = None, is_coordinator: bool = False) -> None:
        self.inner.set_up_planner(state_dict, metadata, is_coordinator)

    def create_local_plan(self) -> LoadPlan:
        return self.inner.create_local_plan()

    def create_global_plan(self, global_plan: list[LoadPlan]) -> list[LoadPlan]:
        return self.inner.create_global_plan(global_plan)

    def finish_plan(self, central_plan: LoadPlan) -> LoadPlan:
        return self.inner.finish_plan(central_plan)

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        self.seen(read_item, value)
        self.inner.load_bytes(read_item, value)

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        self.seen(read_item, None)
        return self.inner.resolve_tensor(read_item)

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None:
        self.inner.commit_tensor(read_item, tensor)


def save_planner(session: Session, resolve: Callable[[WriteItem, Any], Any]) -> SaveRelay:
    """Return the subject's default save planner, with `resolve` between it and the writer."""
    return SaveRelay(session.tool("DefaultSavePlanner")(), resolve)


def load_planner(session: Session, seen: Callable[[ReadItem, Any], None]) -> LoadRelay:
    """Return the subject's default load planner, watched by `seen`."""
    return LoadRelay(session.tool("DefaultLoadPlanner")(), seen)


@dataclass
class Recorder:
    """Sees what a writer was asked to store, what it reported, and when. Times are of the machine's monotonic clock."""

    #: Names of the items of the plan, in order.
    planned: list[Name] = field(default_factory=list)
    #: Names of the write results, in order; None where write_data never succeeded.
    reported: list[Name] | None = None
    writing_began: float | None = None
    writing_ended: float | None = None
    #: For each call of finish, the names that it was given by rank.
    finished: list[list[list[Name]]] = field(default_factory=list)
    finish_began: list[float] = field(default_factory=list)

    def around(self, writer: Any) -> Any:
        """`writer`, with this recorder looking on."""
        return interpose(writer, ("write_data", "finish"), self)

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See harness.faults.proxy.Tap."""
        if method == "finish":
            self.finish_began.append(time.monotonic())
            results = args[1] if len(args) > 1 else kwargs["results"]
            self.finished.append([[name_of(item.index) for item in rank] for rank in results])
            return inner(*args, **kwargs)
        plan = args[0] if args else kwargs["plan"]
        # Copied into plain data at once: an engine may go on changing its plan, and the notes cross to the judge.
        self.planned = [name_of(item.index) for item in plan.items]
        self.writing_began = time.monotonic()
        future = inner(*args, **kwargs)
        # Waited for here, not in the engine: an engine that never waits would otherwise leave no report to look at.
        self.reported = [name_of(item.index) for item in future.wait()]
        self.writing_ended = time.monotonic()
        return future


def name_of(index: Any) -> Name:
    """Return an index as plain data."""
    return index.fqn, tuple(index.offset or ())
