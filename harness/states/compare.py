"""The comparison of what was promised with what came back: dtype, shape and every bit; objects by type and equality.

Runs where the data is and returns plain data, so that only differences travel to the pytest process.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from dcp_conformance.harness.cluster import guard
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.likeness import likeness

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_ALWAYS = torch.tensor([1.5, -2.0], device="cpu")
_WEIGHED = 1 << 11  # bytes of a tensor that is used to see whether comparing works
_LOOKED_AT_AGAIN = 1 << 20  # bytes: larger tensors are not kept beyond their scenario


def differences(expected: Any, observed: Any, *, key: str = "", limit: int = 3) -> list[Difference]:
    """Return the first `limit` differences between two states of nested mappings, lists and leaves.

    Returns [] when they are equal.
    """
    found = list(itertools.islice(_walk(expected, observed, key, expected), limit))
    if not found and not key:
        guard.weigh(differences, all(_sees_a_difference(tensor) for tensor in _tensors_of(expected)))
    return found


def _tensors_of(state: Any) -> Iterator[torch.Tensor]:
    """Yield a plain tensor or two of a state, and one that is always there."""
    found = [item for item in state.values() if type(item) is torch.Tensor] if isinstance(state, Mapping) else []
    yield from (item for item in found[:2] if 0 < item.numel() * item.itemsize <= _WEIGHED)
    yield _ALWAYS


def _sees_a_difference(tensor: torch.Tensor) -> bool:
    """Tell whether the comparison finds a tensor unequal to the same one with one bit of its last byte turned."""
    left = _local(tensor)
    raw = bytearray(_bytes(left).reshape(-1).tolist())
    raw[-1] ^= 1
    right = torch.frombuffer(raw, dtype=torch.uint8)
    plain = torch.frombuffer(bytearray(_bytes(left).reshape(-1).tolist()), dtype=torch.uint8)
    return any(True for _ in _tensors(plain, right, "", {})) and right[-1].item() == raw[-1]


def _walk(expected: Any, observed: Any, key: str, state: Any) -> Iterator[Difference]:
    if isinstance(expected, torch.Tensor):
        yield from _tensors(expected, observed, key, state)
    elif isinstance(expected, Mapping) and isinstance(observed, Mapping):
        yield from _mappings(expected, observed, key, state)
    elif isinstance(expected, list) and isinstance(observed, list) and len(expected) == len(observed):
        for place, (left, right) in enumerate(zip(expected, observed, strict=True)):
            yield from _walk(left, right, _joined(key, place), state)
    elif not _equal_objects(expected, observed):
        yield Difference(key, (), _shown(expected), _shown(observed))


def _mappings(expected: Mapping[Any, Any], observed: Mapping[Any, Any], key: str, state: Any) -> Iterator[Difference]:
    for name in expected:
        if name not in observed:
            yield Difference(_joined(key, name), (), _shown(expected[name]), "missing")
        else:
            yield from _walk(expected[name], observed[name], _joined(key, name), state)
    for name in observed:
        if name not in expected:
            yield Difference(_joined(key, name), (), "no such key", _shown(observed[name]))


def _tensors(expected: torch.Tensor, observed: Any, key: str, state: Any) -> Iterator[Difference]:
    if not isinstance(observed, torch.Tensor):
        yield Difference(key, (), _shown(expected), _shown(observed))
        return
    left, right = _local(expected), _local(observed)
    if (left.dtype, left.shape) != (right.dtype, right.shape):
        yield Difference(key, (), _shown(left), _shown(right))
        return
    unequal = (_bytes(left) != _bytes(right)).any(dim=-1).nonzero().reshape(-1)
    if not unequal.numel() and left.numel() * left.itemsize <= _LOOKED_AT_AGAIN:
        guard.remember(functools.partial(_later, left, right, key))
    if unequal.numel():
        flat = int(unequal[0])
        index = tuple(int(place) for place in torch.unravel_index(torch.tensor(flat), left.shape)) if left.dim() else ()
        yield Difference(
            key,
            index,
            _element(left, flat),
            f"{_element(right, flat)} ({unequal.numel()} of {left.numel()} elements differ)",
            _likeness(left, right, state, key),
        )


def _likeness(expected: torch.Tensor, observed: torch.Tensor, state: Any, key: str) -> str:
    """Return what the wrong values are instead; a guess at the cause must never stand in the way of the finding."""
    try:
        return likeness(expected, observed, state, key)
    except (RuntimeError, NotImplementedError, TypeError):  # dtypes that torch itself can do little with
        return ""


def _later(expected: torch.Tensor, observed: torch.Tensor, key: str, mapped: guard.Mapped) -> str:
    """Return what a loaded tensor, once right, has become.

    "" where it is right, or lies in a file that others may change.
    """
    if observed.device.type != "cpu" or mapped.holds(observed.data_ptr()):
        return ""
    unequal = int((_bytes(expected) != _bytes(observed)).any(dim=-1).sum())
    return f"{key!r} was right when the load was over, and later {unequal} of its elements differ" if unequal else ""


def _local(tensor: torch.Tensor) -> torch.Tensor:
    plain = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return plain.detach().resolve_conj().resolve_neg().cpu()


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """Return the bits of `tensor` as a uint8 tensor of shape (elements, bytes per element)."""
    # Up to one element counts as contiguous whatever its stride, and then cannot be viewed as bytes.
    dense = (
        tensor.contiguous().reshape(-1)
        if tensor.numel() > 1
        # A view and no copy: torch 2.9 copies no float4.
        else tensor.as_strided((tensor.numel(),), (1,))
    )
    raw = dense.to(torch.uint8) if dense.dtype == torch.bool else dense.view(torch.uint8)
    return raw.reshape(tensor.numel(), -1) if tensor.numel() else raw.reshape(0, 1)


def _element(tensor: torch.Tensor, flat: int) -> str:
    raw = bytes(_bytes(tensor)[flat].tolist())
    try:
        return f"{tensor.contiguous().reshape(-1)[flat].item()!r} (bytes {raw.hex()})"
    except (RuntimeError, NotImplementedError, ValueError):  # dtypes that have no Python number, such as float4 pairs
        return f"bytes {raw.hex()}"


def _equal_objects(expected: Any, observed: Any) -> bool:
    if type(expected) is not type(observed):
        return False
    if isinstance(expected, float) and expected != expected:
        return bool(observed != observed)
    if isinstance(expected, tuple | list):
        return len(expected) == len(observed) and not any(
            differences(left, right, limit=1) for left, right in zip(expected, observed, strict=True)
        )
    if hasattr(expected, "getvalue") and hasattr(observed, "getvalue"):
        return bool(expected.getvalue() == observed.getvalue())
    return bool(expected == observed)


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of {value.dtype} {tuple(value.shape)}"
    # What a function is called, and where an object lies, says nothing to anybody.
    text = "a function" if inspect.isroutine(value) else _ADDRESS.sub("", repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _joined(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)
