"""Reading a torch.save file as if it were a checkpoint: one rank reads it, the others get what they need from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch.futures import Future

from dcp_conformance.reference_impl.interchange import (
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    Metadata,
    ReadItem,
    StateDict,
    StorageReader,
)
from dcp_conformance.reference_impl.ranks.crew import Crew, current_crew
from dcp_conformance.reference_impl.values.boxes import narrow
from dcp_conformance.reference_impl.values.flatten import flatten


class BroadcastingTorchSaveReader(StorageReader):
    """Reads a torch.save file on the coordinator and broadcasts tensor by tensor, so that no other rank holds it whole.

    Use it with ``DynamicMetaLoadPlanner``. Without a process group it reads the file in this process.
    The file is trusted: unpickling it runs code. Only tensors can be loaded.
    """

    def __init__(self, checkpoint_id: str | os.PathLike[str] | None = None, coordinator_rank: int = 0) -> None:
        self.checkpoint_id = checkpoint_id
        self.coordinator_rank = coordinator_rank

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Read ``checkpoint_id`` from now on, if given."""
        if checkpoint_id:
            self.checkpoint_id = checkpoint_id

    def read_metadata(self, *args: Any) -> Metadata:
        """Return empty metadata: the planner makes its own from the template."""
        return Metadata(state_dict_metadata={})

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any) -> None:
        """Raises ValueError where no file was named."""
        if self.checkpoint_id is None:
            raise ValueError("the reader was not told which file to read: checkpoint_id is missing")

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Nothing to prepare."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Nothing to prepare."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Read on the coordinator, broadcast. A missing or unfit tensor fails on all ranks, before any is sent."""
        crew = current_crew() or Crew.form(None, no_dist=False, coordinator=self.coordinator_rank)
        wanted: dict[str, list[ReadItem]] = {}
        for item in plan.items:
            wanted.setdefault(item.storage_index.fqn, []).append(item)
        self._refuse_objects(plan)
        if crew.size == 1:
            tensors = self._read_file(planner)
            self._require(list(wanted), {name: self._kind(value) for name, value in tensors.items()})
            for name, requests in wanted.items():
                _fill(requests, tensors[name], planner)
        else:
            self._broadcast(crew, wanted, planner)
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def _broadcast(self, crew: Crew, wanted: dict[str, list[ReadItem]], planner: LoadPlanner) -> None:
        # Ranks may want different tensors in different orders: all take part in sending all that any rank wants.
        tensors: dict[str, Any] = {}

        def look() -> tuple[list[str], dict[str, Any]]:
            if crew.is_coordinator:
                tensors.update(self._read_file(planner))
            return list(wanted), {name: self._kind(value) for name, value in tensors.items()}

        # Guarded: whatever is wrong with the file is known to all ranks before the first broadcast.
        shared = crew.together("read", look)
        kinds = shared[crew.coordinator][1]
        # In one order on all ranks, since a broadcast does not say what it carries.
        names = sorted({name for part, _ in shared for name in part})
        self._require(names, kinds)
        source = crew.coordinator if crew.group is None else dist.get_global_rank(crew.group, crew.coordinator)
        device = _collective_device(crew)
        failure: BaseException | None = None
        for name in names:
            size, dtype = kinds[name]
            whole = tensors[name].to(device) if crew.is_coordinator else torch.empty(size, dtype=dtype, device=device)
            # A broadcast sends memory as it lies, and a view may lie with gaps.
            whole = whole.contiguous()
            dist.broadcast(whole, src=source, group=crew.group)
            try:  # the other ranks wait for the remaining broadcasts, so a failure is kept until the end
                if failure is None:
                    _fill(wanted.get(name, []), whole, planner)
            except BaseException as error:
                failure = error
        if failure is not None:
            raise failure

    def _read_file(self, planner: LoadPlanner) -> dict[str, Any]:
        assert self.checkpoint_id is not None
        state_dict = read_torch_file(self.checkpoint_id)
        return flatten(state_dict).values if getattr(planner, "flatten_state_dict", True) else state_dict

    @staticmethod
    def _kind(value: Any) -> Any:
        return (tuple(value.size()), value.dtype) if isinstance(value, torch.Tensor) else None

    def _require(self, names: list[str], kinds: dict[str, Any]) -> None:
        missing = [name for name in names if name not in kinds]
        if missing:
            raise RuntimeError(f"Missing key in {os.fspath(self.checkpoint_id or '')!r}: {', '.join(sorted(missing))}")
        objects = [name for name in names if kinds[name] is None]
        if objects:
            raise RuntimeError(f"Non-tensor value identified at {objects[0]}; only tensors can be loaded this way")

    def _refuse_objects(self, plan: LoadPlan) -> None:
        for item in plan.items:
            if item.type == LoadItemType.BYTE_IO:
                raise RuntimeError(
                    f"Non-tensor value identified at {item.storage_index.fqn}; only tensors can be loaded this way"
                )

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Tell whether the id names a file."""
        try:
            return os.path.isfile(checkpoint_id)
        except (OSError, ValueError, TypeError):
            return False


def read_torch_file(path: str | os.PathLike[str]) -> StateDict:
    """Return the state dict in a torch.save file. Raises TypeError naming the file where it holds something else."""
    # Trusted, as the class says; onto the CPU, since the device of the saving process may not be here.
    state_dict: Any = torch.load(path, map_location="cpu", weights_only=False)
    if not isinstance(state_dict, Mapping):
        kind = type(state_dict).__name__
        raise TypeError(f"{os.fspath(path)!r} holds a {kind}, expected a state dict (a mapping of names to values)")
    return dict(state_dict)


def _fill(requests: list[ReadItem], whole: torch.Tensor, planner: LoadPlanner) -> None:
    for request in requests:
        part = narrow(whole, request.storage_offsets, request.lengths)
        target = planner.resolve_tensor(request).detach()
        # copy_ would broadcast a smaller tensor into a larger target.
        if target.size() != part.size():
            raise ValueError(
                f"{request.storage_index.fqn!r} has size {tuple(part.size())}, its target {tuple(target.size())}"
            )
        target.copy_(part)
        planner.commit_tensor(request, target)


def _collective_device(crew: Crew) -> torch.device:
    """Return a device on which the group can broadcast: the CPU if it can, else the accelerator."""
    group: Any = crew.group if crew.group is not None else dist.group.WORLD
    if torch.device("cpu") in group._device_types:
        return torch.device("cpu")
    return torch.device(torch.accelerator.current_accelerator() or "cpu")
