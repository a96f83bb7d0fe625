"""Checkpoints as older torch wrote them, in torch's own files."""

from __future__ import annotations

import pickle
from typing import Any

import torch
import torch.distributed.checkpoint as torch_checkpoint
from torch.distributed.checkpoint import _version

from harness.scenarios.compare import differences
from harness.session import Session, into_subject
from harness.spec import Difference


def load_layout_of_2_3(session: Session) -> list[Difference]:
    """Written by torch's engine in the layout of 2.3 (a dict without tensors is one entry), loaded by the subject."""
    checkpoint_id, state = session.new_id(), _nested_state()
    _save_like_2_3(state, checkpoint_id)
    target: dict[str, Any] = {
        "tensor": torch.zeros(4, 4), "numbers": {"a": {"x": 0, "y": 0}, "b": {"z": 0}}, "list": [0] * 6
    }  # fmt: skip
    session.load(target, checkpoint_id)
    return differences(state, target)


def metadata_file(session: Session) -> tuple[bool, str]:
    """Whether a save left `.metadata` holding torch's Metadata, and the version that it states."""
    checkpoint_id = session.new_id()
    session.save({"t": torch.ones(3)}, checkpoint_id)
    blobs = session.blobs(checkpoint_id)
    if blobs is None or ".metadata" not in blobs.names():
        return False, ""
    metadata = pickle.loads(blobs.read(".metadata"))
    return type(metadata).__name__ == "Metadata", str(getattr(metadata, "version", None))


def _nested_state() -> dict[str, Any]:
    return {
        "tensor": torch.arange(16.0).reshape(4, 4),
        "numbers": {"a": {"x": 1, "y": 2}, "b": {"z": 3}},
        "list": [1, 2, 3, 4, 5, 6],
    }


def _save_like_2_3(state: dict[str, Any], checkpoint_id: Any) -> None:
    # Torch 2.13 reads this switch when it flattens; `_act_like_version`, which its own test sets, does nothing.
    _version._derived_version = "2_3"
    try:
        writer = into_subject(torch_checkpoint.FileSystemWriter, checkpoint_id)
        torch_checkpoint.save(state, storage_writer=writer)
    finally:
        _version._derived_version = None
