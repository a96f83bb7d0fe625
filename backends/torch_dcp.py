"""torch's own DCP as a backend: FileSystemWriter and FileSystemReader, engine, planners, format and utilities."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch.distributed.checkpoint as dcp

from dcp_conformance.harness.backend.record import PLANNERS, UTILITIES
from dcp_conformance.harness.backend.resolve import from_module

# Where torch keeps what it does not export from the package itself.
_SUBMODULES = (
    "_checkpointer",
    "_state_dict_stager",
    "_traverse",
    "default_planner",
    "format_utils",
    "metadata",
    "staging",
    "state_dict",
    "state_dict_loader",
    "utils",
)


def _utilities() -> dict[str, Any]:
    # Torch's storage through fsspec is there only together with that package.
    submodules = [*_SUBMODULES, *(["_fsspec_filesystem"] if importlib.util.find_spec("fsspec") else [])]
    modules = [dcp, *(importlib.import_module(f"{dcp.__name__}.{name}") for name in submodules)]
    wanted = PLANNERS | UTILITIES
    return {name: getattr(module, name) for module in modules for name in wanted if hasattr(module, name)}


backend = from_module(
    dcp,
    dcp.__name__,
    pair="FileSystemWriter,FileSystemReader",
    name=dcp.__name__,
    offers=("drop_in", "extensions"),
    utilities=_utilities(),
    # What its writer documents: several threads, and one file for each item.
    option_sets=({}, {"thread_count": 2}, {"thread_count": 4}, {"single_file_per_rank": False}),
)
