"""Loading without a template: some keys, or all, into a new state dict."""

from __future__ import annotations

import os

import torch.distributed as dist

from dcp_conformance.reference_impl.engine.detection import choose_reader
from dcp_conformance.reference_impl.engine.load import load_plainly
from dcp_conformance.reference_impl.interchange import StateDict, StorageReader
from dcp_conformance.reference_impl.planners.rebuild_planner import RebuildLoadPlanner
from dcp_conformance.reference_impl.ranks.crew import Crew


def load_keys(
    keys: set[str] | str | None = None,
    *,
    checkpoint_id: str | os.PathLike[str] | None = None,
    storage_reader: StorageReader | None = None,
    process_group: dist.ProcessGroup | None = None,
) -> StateDict:
    """Load the values under some keys, or all, into a new state dict in this process.

    A key is a flat name or a prefix of a path. torch calls this ``_load_state_dict_from_keys``.
    """
    loaded: StateDict = {}
    wanted = {keys} if isinstance(keys, str) else keys
    reader = choose_reader(storage_reader, checkpoint_id)
    crew = Crew.form(process_group, no_dist=False)
    load_plainly(loaded, reader, crew=crew, planner=RebuildLoadPlanner(wanted))
    return loaded
