"""torch's own DCP as a backend: FileSystemWriter and FileSystemReader, engine, planners, format and utilities."""

from __future__ import annotations

import torch.distributed.checkpoint as dcp

from dcp_conformance.harness.backend.record import PLANNERS, UTILITIES
from dcp_conformance.harness.backend.resolve import from_module
from dcp_conformance.harness.backend.torch_homes import torch_tools

backend = from_module(
    dcp,
    dcp.__name__,
    pair="FileSystemWriter,FileSystemReader",
    name=dcp.__name__,
    offers=("drop_in", "extensions"),
    utilities=torch_tools(PLANNERS | UTILITIES),
    # What its writer documents: several threads, and one file for each item.
    option_sets=({}, {"thread_count": 2}, {"thread_count": 4}, {"single_file_per_rank": False}),
)
