"""Loading without a template: the state dict is built from what the checkpoint says of itself."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.reference_impl.interchange import Metadata, StateDict, TensorStorageMetadata
from dcp_conformance.reference_impl.planners.plan_load import DefaultLoadPlanner
from dcp_conformance.reference_impl.values.flatten import rebuild, set_path, stored_structure


class RebuildLoadPlanner(DefaultLoadPlanner):
    """Fills an empty state dict with what is stored, nested as it was saved, key types and empty mappings included.

    Args:
        keys: flat names, or prefixes of paths such as ``"optimizer.state"``; None for everything.
    """

    def __init__(self, keys: set[str] | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keys = keys
        self._built: StateDict | None = None

    def set_up_planner(
        self, state_dict: StateDict, metadata: Metadata | None = None, is_coordinator: bool = False
    ) -> None:
        """Build the template. Raises ValueError where the state dict is not empty."""
        if state_dict is self._built:  # the checkpoint was replaced during the load, and is read anew
            state_dict.clear()
        self._built = state_dict
        if state_dict:
            raise ValueError("the state dict must be empty: it is built from the checkpoint")
        assert metadata is not None, "the checkpoint has no metadata"
        for name, entry in metadata.state_dict_metadata.items():
            if self._wanted(name, metadata.planner_data):
                # An object gets a place and no value: loading replaces it whole.
                value = None
                if isinstance(entry, TensorStorageMetadata):
                    value = torch.empty(entry.size, dtype=entry.properties.dtype, device="cpu")
                rebuild(state_dict, name, value, metadata.planner_data)
        for name, path in stored_structure(metadata.planner_data)[1].items():
            if self._wanted(name, {name: path}):
                rebuild_empty(state_dict, name, path, metadata.planner_data)
        super().set_up_planner(state_dict, metadata, is_coordinator)

    def _wanted(self, name: str, planner_data: Any) -> bool:
        if self.keys is None or name in self.keys:
            return True
        # By path, so that a prefix ends where a key ends: `opt` is no prefix of `optimizer`.
        path = planner_data.get(name, ()) if isinstance(planner_data, dict) else ()
        return any(".".join(map(str, path[:length])) in self.keys for length in range(1, len(path)))


def rebuild_empty(root: StateDict, name: str, path: tuple[Any, ...], planner_data: Any) -> None:
    """Put an empty mapping where the checkpoint recorded one, with its recorded key types."""
    typed = stored_structure(planner_data)[0].get(name, {})
    set_path(root, tuple(typed.get(place, part) for place, part in enumerate(path)), {})
