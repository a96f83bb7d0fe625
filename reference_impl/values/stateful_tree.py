"""Stateful objects in a state dict, at any depth.

On save each is replaced by its ``state_dict()``. On load the same happens first, the values are filled in, and at the
end each gets ``load_state_dict()`` once. Containers that hold no Stateful object are passed on as they are, so values
are loaded into the caller's own containers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from dcp_conformance.reference_impl.interchange import StateDict, Stateful

#: Types of most values: asking the protocol about each of a million values takes seconds.
_NEVER = frozenset({dict, list, tuple, str, int, float, bool, bytes, type(None), torch.Tensor, torch.nn.Parameter})


def is_stateful(value: Any) -> bool:
    """Tell whether ``value`` is an object with ``state_dict`` and ``load_state_dict`` (classes themselves are not)."""
    if type(value) in _NEVER or isinstance(value, type):
        return False
    return isinstance(value, Stateful)


def require_mapping(state_dict: Any) -> None:
    """Raise TypeError unless ``state_dict`` is a mapping."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be a mapping of names to values, not {type(state_dict).__name__}")


def unwrapped(state_dict: Mapping[Any, Any]) -> StateDict:
    """Return a copy of ``state_dict`` in which every Stateful object is replaced by its state dict."""
    return {key: _unwrap(value) for key, value in state_dict.items()}


def _unwrap(value: Any) -> Any:
    if is_stateful(value):
        return value.state_dict()
    if isinstance(value, Mapping) and _holds_stateful(value):
        return {key: _unwrap(item) for key, item in value.items()}
    if isinstance(value, list) and _holds_stateful(value):
        return [_unwrap(item) for item in value]
    return value


def _holds_stateful(container: Any) -> bool:
    stack = [container]
    while stack:
        current = stack.pop()
        for item in current.values() if isinstance(current, Mapping) else current:
            if is_stateful(item):
                return True
            if isinstance(item, (Mapping, list)):
                stack.append(item)
    return False


def in_order(state_dict: Mapping[Any, Any]) -> list[Any]:
    """Return the keys in an order that is the same on all ranks, whatever their types."""
    return sorted(state_dict, key=lambda key: (str(key), type(key).__name__))


@dataclass
class LoadTarget:
    """What a load fills: the caller's state dict with its Stateful objects unwrapped, and the way back."""

    original: Any
    state: StateDict = field(default_factory=dict)

    @classmethod
    def of(cls, state_dict: Any) -> LoadTarget:
        """Call ``state_dict()`` of every Stateful object, in the order that is the same on all ranks."""
        target = cls(original=state_dict)
        for key in in_order(state_dict):
            if key in state_dict:  # an earlier state_dict() may have removed it
                target.state[key] = _unwrap(state_dict[key])
        return target

    def deliver(self) -> None:
        """Hand the loaded values to the Stateful objects and put all others into the caller's dict."""
        for key in in_order(self.state):
            if key in self.original:
                _give_back(self.original[key], self.state[key], _setter(self.original, key))


def _setter(container: Any, key: Any) -> Callable[[Any], None]:
    return lambda value: container.__setitem__(key, value)


def _give_back(original: Any, loaded: Any, assign: Callable[[Any], None]) -> None:
    if is_stateful(original):
        original.load_state_dict(loaded)
    elif isinstance(original, Mapping) and _was_copied(original, loaded, Mapping):
        for key in list(loaded):
            if key in original:
                _give_back(original[key], loaded[key], _setter(original, key))
            else:
                _setter(original, key)(loaded[key])
    elif isinstance(original, list) and _was_copied(original, loaded, list):
        for place in range(min(len(original), len(loaded))):
            _give_back(original[place], loaded[place], _setter(original, place))
    else:
        assign(loaded)


def _was_copied(original: Any, loaded: Any, kind: type) -> bool:
    """Tell whether ``loaded`` is the copy that unwrapping made; any other new container replaces the old one whole."""
    return loaded is not original and isinstance(loaded, kind) and _holds_stateful(original)
