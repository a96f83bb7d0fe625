"""nvidia-resiliency-ext: its asynchronous writer, driven to its end in the call of save; torch loads."""

from __future__ import annotations

import importlib.metadata
import os
from typing import Any

import torch.distributed.checkpoint as dcp
from nvidia_resiliency_ext.checkpointing.async_ckpt.filesystem_async import FileSystemWriterAsync
from nvidia_resiliency_ext.checkpointing.async_ckpt.state_dict_saver import (
    save_state_dict_async_finalize,
    save_state_dict_async_plan,
)

from dcp_conformance.harness.backend.record import Backend


def save(state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike[str], process_group: Any = None) -> None:
    """Plan, write and finalize, as its documentation does from one step of training to a later one."""
    writer = FileSystemWriterAsync(checkpoint_id)
    plan = save_state_dict_async_plan(state_dict, writer, process_group, planner=dcp.DefaultSavePlanner())
    function, _, arguments = writer.get_save_function_and_args()
    if function is not None:
        function(*arguments)
    save_state_dict_async_finalize(*plan)


def load(state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike[str], process_group: Any = None) -> None:
    """Load with torch's reader: the package writes torch's files and has no reader of its own for them."""
    dcp.load(state_dict, storage_reader=dcp.FileSystemReader(checkpoint_id), process_group=process_group)


backend = Backend(
    name="nvidia-resiliency-ext",
    version=importlib.metadata.version("nvidia-resiliency-ext"),
    save=save,
    load=load,
    unsupported={"rank_local_metadata": "its plan is made by all ranks together"},
)
