"""torchsnapshot: an engine and a format of its own. It keeps Stateful objects; a plain state dict is wrapped in one."""

from __future__ import annotations

import os
from typing import Any

import torchsnapshot

from dcp_conformance.harness.backend.record import Backend


def save(state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike[str], process_group: Any = None) -> None:
    """Take a snapshot of the state dict under one key."""
    torchsnapshot.Snapshot.take(os.fspath(checkpoint_id), {"state": _Held(state_dict)}, pg=process_group)


def load(state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike[str], process_group: Any = None) -> None:
    """Restore the snapshot into the state dict."""
    torchsnapshot.Snapshot(os.fspath(checkpoint_id), pg=process_group).restore({"state": _Held(state_dict)})


class _Held:
    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def state_dict(self) -> dict[str, Any]:
        return {key: item.state_dict() if hasattr(item, "state_dict") else item for key, item in self.values.items()}

    def load_state_dict(self, loaded: dict[str, Any]) -> None:
        for key, value in loaded.items():
            if hasattr(self.values[key], "load_state_dict"):
                self.values[key].load_state_dict(value)
            else:
                self.values[key] = value


backend = Backend(
    name="torchsnapshot",
    version=torchsnapshot.__version__,
    save=save,
    load=load,
    unsupported={
        "rank_local_metadata": "a snapshot has one metadata file",
        "torch_format": "it has a format of its own",
    },
)
