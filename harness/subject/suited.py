"""Whether a storage that opted out of capabilities can be asked to save a state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch

_EXOTIC = ("complex", "float8", "float4", "uint16", "uint32", "uint64")


def unsuited(state: Any, unsupported: Collection[str]) -> tuple[str, str] | None:
    """Return the first capability that a value of `state` needs and that is lacking, and what it is; None for none.

    What a Stateful object or a module will give when it is asked is not known before.
    """
    # Most backends opt out of nothing, and states can be large: then no leaf is looked at.
    asked = [name for name in _TESTS if name in unsupported]
    for key, leaf in _leaves(state, "") if asked else ():
        for name in asked:
            if said := _TESTS[name](leaf):
                return name, f"{key!r} is {said}"
    return None


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the values that a planner would make items of: mappings are taken apart, and lists that hold a tensor."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            # As the planner names them, so that the reason names a key which the author knows.
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(_is_apart(item) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{key}.{number}")
    else:
        yield key, value


def _is_apart(value: Any) -> bool:
    inside = isinstance(value, list) and any(_is_apart(item) for item in value)
    return isinstance(value, (torch.Tensor, Mapping)) or inside


def _object(leaf: Any) -> str:
    hooks = ("state_dict", "__create_write_items__")
    # What torch takes apart through one of these hooks is no object of its own.
    plans = isinstance(leaf, torch.Tensor) or any(hasattr(leaf, hook) for hook in hooks)
    return "" if plans else f"a {type(leaf).__name__}"


def _exotic(leaf: Any) -> str:
    dtype = str(leaf.dtype).removeprefix("torch.") if isinstance(leaf, torch.Tensor) else ""
    return f"of dtype {dtype}" if dtype.startswith(_EXOTIC) else ""


def _viewed(leaf: Any) -> str:
    # A subclass (DTensor) answers `is_contiguous` for itself, not for the local tensor that is written.
    if not isinstance(leaf, torch.Tensor) or type(leaf) not in (torch.Tensor, torch.nn.Parameter):
        return ""
    plain = leaf.layout != torch.strided or (leaf.is_contiguous() and not leaf.is_conj() and not leaf.is_neg())
    return "" if plain else "a view that is not laid out as it reads"


_TESTS: Mapping[str, Callable[[Any], str]] = {"objects": _object, "exotic_dtypes": _exotic, "layouts": _viewed}
