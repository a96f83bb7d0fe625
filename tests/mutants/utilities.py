"""Bugs in the conversion between checkpoints and files of torch.save, and in loading such files directly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint import format_utils as torch_utils
from torch.futures import Future

from dcp_conformance.reference_impl import format_utils
from tests.mutants.making import engine, torch_storage


def _flat_names(checkpoint_id: Any, path: Any) -> None:
    format_utils.dcp_to_torch_save(checkpoint_id, path)
    nested = torch.load(path, weights_only=False)
    torch.save({f"{name}.{key}": value for name, part in nested.items() for key, value in part.items()}, path)


def _half_precision(path: Any, checkpoint_id: Any) -> None:
    state = torch.load(path, weights_only=False)
    for part in state.values():
        for key, value in part.items():
            part[key] = value.half().to(value.dtype)
    torch.save(state, path)
    format_utils.torch_save_to_dcp(path, checkpoint_id)


class _FirstRowsReader(format_utils.BroadcastingTorchSaveReader):
    """Forgets at which row a rank's part begins."""

    def read_data(self, plan: Any, planner: Any) -> Future[None]:
        for item in plan.items:
            object.__setattr__(item, "storage_offsets", torch.Size([0] * len(item.storage_offsets)))
        return super().read_data(plan, planner)


class _TensorPlanner(format_utils.DynamicMetaLoadPlanner):
    """Leaves alone what is no tensor."""

    def set_up_planner(self, state_dict: Any, metadata: Any = None, is_coordinator: bool = False) -> None:
        tensors = {key: value for key, value in state_dict.items() if isinstance(value, torch.Tensor)}
        super().set_up_planner(tensors, metadata, is_coordinator)


class _ForgivingReader(format_utils.BroadcastingTorchSaveReader):
    """Takes a missing key for one that need not be loaded."""

    def read_data(self, plan: Any, planner: Any) -> Future[None]:
        try:
            return super().read_data(plan, planner)
        except Exception:
            # The bug: whatever went wrong, the load goes on as if it had not.
            done: Future[None] = Future()
            done.set_result(None)
            return done


class _RankReader(format_utils.BroadcastingTorchSaveReader):
    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool, *args: Any) -> None:
        if is_coordinator and torch.distributed.get_rank() != self.coordinator_rank:
            raise ValueError("another rank coordinates")
        super().set_up_storage_reader(metadata, is_coordinator, *args)


def _lists_as_dicts(checkpoint_id: Any, path: Any) -> None:
    format_utils.dcp_to_torch_save(checkpoint_id, path)
    torch.save(_without_lists(torch.load(path, weights_only=False)), path)


def _without_lists(value: Any) -> Any:
    if isinstance(value, list) and any(isinstance(item, torch.Tensor) for item in value):
        return {str(place): _without_lists(item) for place, item in enumerate(value)}
    return {key: _without_lists(item) for key, item in value.items()} if isinstance(value, dict) else value


def _alone_only(path: Any, checkpoint_id: Any) -> None:
    if torch.distributed.is_initialized():
        raise RuntimeError("convert in a process of its own")
    format_utils.torch_save_to_dcp(path, checkpoint_id)


def _direct(
    *, breaks: Sequence[str], reader: Any = format_utils.BroadcastingTorchSaveReader, planner: Any = None
) -> Any:
    tools = {
        "BroadcastingTorchSaveReader": reader,
        "DynamicMetaLoadPlanner": planner or format_utils.DynamicMetaLoadPlanner,
    }
    return engine(breaks=breaks, writer=FileSystemWriter, reader=FileSystemReader, unsupported={}, utilities=tools)


writes_flat_names_to_the_file = torch_storage(breaks=["UTIL-01"], utilities={"dcp_to_torch_save": _flat_names})
saves_the_file_in_half_precision = torch_storage(breaks=["UTIL-02"], utilities={"torch_save_to_dcp": _half_precision})
gives_every_rank_the_first_rows = _direct(breaks=["UTIL-03"], reader=_FirstRowsReader)
passes_over_objects = _direct(breaks=["UTIL-04"], planner=_TensorPlanner)
keeps_what_the_file_lacks = _direct(breaks=["UTIL-05"], reader=_ForgivingReader)
asks_the_group_for_its_rank = _direct(breaks=["UTIL-06"], reader=_RankReader)
turns_lists_into_dicts = torch_storage(
    breaks=["UTIL-07"],
    utilities={"dcp_to_torch_save": _lists_as_dicts, "torch_save_to_dcp": format_utils.torch_save_to_dcp},
)
stumbles_over_files_without_state = torch_storage(
    breaks=["UTIL-08"], utilities={"torch_save_to_dcp": torch_utils.torch_save_to_dcp}
)
refuses_to_convert_in_a_group = torch_storage(
    breaks=["UTIL-09"],
    utilities={"dcp_to_torch_save": format_utils.dcp_to_torch_save, "torch_save_to_dcp": _alone_only},
)
