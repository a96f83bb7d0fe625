"""An engine with a store of its own that takes a state and an id, and nothing else of torch's signatures.

No planner, group or storage is taken; save returns nothing, and load returns the state that it has filled.
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import Any

from dcp_conformance import reference_impl
from dcp_conformance.harness.backend.record import Backend


def save(state_dict: Any, checkpoint_id: str | os.PathLike[str]) -> None:
    """Save to a folder."""
    reference_impl.save(state_dict, storage_writer=reference_impl.FileSystemWriter(checkpoint_id))


def load(state_dict: Any, checkpoint_id: str | os.PathLike[str]) -> Any:
    """Load from a folder into `state_dict`, which is returned."""
    reference_impl.load(state_dict, storage_reader=reference_impl.FileSystemReader(checkpoint_id))
    return state_dict


def async_save(state_dict: Any, checkpoint_id: str | os.PathLike[str]) -> Future[Any]:
    """Save in the background."""
    writer = reference_impl.FileSystemWriter(checkpoint_id)
    saving = reference_impl.async_save(state_dict, storage_writer=writer)
    assert isinstance(saving, Future)
    return saving


backend = Backend(
    name="own_store_engine",
    save=save,
    load=load,
    async_save=async_save,
    unsupported={
        "async_process": "it saves in threads",
        "rank_local_metadata": "all ranks save together",
    },
)
