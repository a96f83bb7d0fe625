"""torch-checkpointing: an engine and a format of its own, through its CheckpointManager."""

from __future__ import annotations

import os
from typing import Any

import torch_checkpointing
from torch_checkpointing import CheckpointManager

from dcp_conformance.harness.backend.record import Backend


def save(state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike[str]) -> None:
    """Save all items under their keys; an item is what torch.distributed.checkpoint would save for it."""
    manager = CheckpointManager.Config.with_sync_save().build()
    try:
        manager.save(os.fspath(checkpoint_id), {key: _value(item) for key, item in state_dict.items()})
    finally:
        manager.close()


def load(state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike[str]) -> None:
    """Load into the items of the state dict; what is no tensor is replaced."""
    manager = CheckpointManager.Config.with_sync_save().build()
    try:
        loaded = manager.load(
            os.fspath(checkpoint_id), into={key: _value(item) for key, item in state_dict.items()}, strict=True
        )
    finally:
        manager.close()
    for key, value in loaded.items():
        if hasattr(state_dict[key], "load_state_dict"):
            state_dict[key].load_state_dict(value)
        else:
            state_dict[key] = value


def _value(item: Any) -> Any:
    return item.state_dict() if hasattr(item, "state_dict") else item


backend = Backend(
    name="torch-checkpointing",
    version=torch_checkpointing.version.__version__,
    save=save,
    load=load,
    unsupported={
        "rank_local_metadata": "its save takes no such argument",
        "torch_format": "it has a format of its own",
    },
)
