"""Where torch keeps the names that DCP's clauses are about. Imports torch: for ranks, and for the survey.

A name may be exported by the package, or lie in a submodule that has moved between releases, so a module that this
torch does not have is passed over.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

PACKAGE = "torch.distributed.checkpoint"
# In the order of asking: the package's own exports are what its documentation names.
_SUBMODULES = (
    "",
    ".format_utils",
    ".staging",
    ".utils",
    ".metadata",
    ".planner",
    ".default_planner",
    ".state_dict",
    ".state_dict_loader",
    ".state_dict_saver",
    "._checkpointer",
    "._nested_dict",
    "._state_dict_stager",
    "._traverse",
    "._fsspec_filesystem",
)


def torch_tool(name: str) -> Any:
    """Return torch's own object of that name. Raises LookupError where this torch has none."""
    for module in _homes():
        if hasattr(module, name):
            return getattr(module, name)
    raise LookupError(f"{PACKAGE} has nothing called {name}")


def torch_tools(names: Iterable[str]) -> dict[str, Any]:
    """Return those of `names` that this torch has."""
    wanted, found = sorted(names), dict[str, Any]()
    for home in _homes():
        for name in wanted:
            if name not in found and hasattr(home, name):
                found[name] = getattr(home, name)
    return found


def _homes() -> Iterator[ModuleType]:
    for place in _SUBMODULES:
        # Torch's storage through fsspec is there only together with that package.
        if place == "._fsspec_filesystem" and importlib.util.find_spec("fsspec") is None:
            continue
        if importlib.util.find_spec(PACKAGE + place) is not None:
            yield importlib.import_module(PACKAGE + place)
