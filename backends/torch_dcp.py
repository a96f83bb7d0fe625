"""torch's own DCP as a backend: FileSystemWriter and FileSystemReader, engine, planners, format and utilities."""

from __future__ import annotations

import importlib
from typing import Any

import torch.distributed.checkpoint as dcp

from harness.backend import PLANNERS, UTILITIES
from harness.discovery import from_module

# Where torch keeps what it does not export from the package itself.
_SUBMODULES = (
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
    modules = [dcp, *(importlib.import_module(f"{dcp.__name__}.{name}") for name in _SUBMODULES)]
    wanted = PLANNERS | UTILITIES
    return {name: getattr(module, name) for module in modules for name in wanted if hasattr(module, name)}


backend = from_module(
    dcp,
    dcp.__name__,
    pair="FileSystemWriter,FileSystemReader",
    name=dcp.__name__,
    offers=("drop_in", "extensions"),
    utilities=_utilities(),
)
