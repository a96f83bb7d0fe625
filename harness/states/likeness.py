"""What wrong values are: nothing but zeros, another value of the state, an older save, the right ones out of order.

A reader of a finding looks for the cause, and the first wrong element rarely shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from dcp_conformance.harness.states.values import KEYS_PER_VERSION, POSITIONS_PER_KEY, code, other_bits

_LARGEST = 1 << 20  # elements: larger tensors are not looked at
_MOST_SHIFTS = 64


def likeness(expected: torch.Tensor, observed: torch.Tensor, state: Any, key: str) -> str:
    """Return what `observed` is instead, as half a sentence; "" if it is unlike all that is known here.

    expected: of the same dtype and shape. state: the whole state that was to come back, where it stands under `key`.
    """
    if expected.numel() > _LARGEST or expected.numel() < 2:
        return ""
    flat, wanted = observed.reshape(-1), expected.reshape(-1)
    if not bool((flat != 0).any()):
        return "is zero in every element"
    if _alike(flat, other_bits(expected).reshape(-1)):
        return "is in every element what the target held before"
    for name, other in _tensors(state, ""):
        same_kind = other.dtype == expected.dtype and other.numel() == expected.numel()
        if name != key and same_kind and _alike(flat, other.detach().reshape(-1)):
            return f"has the elements of {name!r}"
    return _moved(wanted, flat) or _decoded(wanted, flat, state)


def _moved(wanted: torch.Tensor, found: torch.Tensor) -> str:
    count = wanted.numel()
    for shift in range(1, min(count, _MOST_SHIFTS)):
        for signed in (shift, -shift):
            if _alike(found, wanted.roll(signed)):
                return f"has its elements moved by {signed}"
    if _alike(found, wanted.flip(0)):
        return "has its elements in reverse order"
    if not wanted.is_complex() and _alike(found.sort().values, wanted.sort().values):
        return "has its own elements in another order"
    return ""


def _decoded(wanted: torch.Tensor, found: torch.Tensor, state: Any) -> str:
    """Return what numbers made by `coded` say of themselves."""
    right, seen = _origins(wanted), _origins(found)
    if right is None or seen is None or len(right) != 1:
        return ""
    [(version, key)] = right
    others = {origin: count for origin, count in seen.items() if origin not in right}
    if len(others) != 1:
        return ""
    [((other_version, other_key), count)] = others.items()
    how_many = "every element" if count == found.numel() else f"{count} of {found.numel()} elements"
    if other_key == key:
        return f"has {how_many} of version {other_version}, where version {version} was saved"
    holders = [name for name, value in _tensors(state, "") if (_origins(value) or {}).keys() == {(version, other_key)}]
    whose = f"of {holders[0]!r}" if holders else f"of another value of the state (number {other_key})"
    older = f", version {other_version} instead of {version}" if other_version != version else ""
    return f"has {how_many} {whose}{older}"


def _origins(values: torch.Tensor) -> dict[tuple[int, int], int] | None:
    """Return how many elements are of each (version, key); None for numbers that `coded` never gives."""
    if values.dtype not in (torch.float64, torch.int64) or not values.numel() or values.numel() > _LARGEST:
        return None
    flat = values.detach().reshape(-1)
    if not bool((flat == flat.round()).all() if flat.is_floating_point() else True):
        return None
    if not bool(((flat >= code(0, 1)) & (flat < code(0, 1 << 17))).all()):
        return None
    origins = flat.to(torch.int64).div(POSITIONS_PER_KEY, rounding_mode="floor")
    return {divmod(origin, KEYS_PER_VERSION): count for origin, count in Counter(origins.tolist()).items()}


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.dtype == torch.bool or not one.is_floating_point():
        return bool(torch.equal(one, other))
    return bool(torch.equal(one.view(torch.uint8), other.contiguous().view(torch.uint8)))


def _tensors(value: Any, key: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        if type(value) in (torch.Tensor, torch.nn.Parameter) and value.layout == torch.strided and not value.is_meta:
            yield key, value
    elif isinstance(value, (Mapping, list)):
        for name, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _tensors(item, f"{key}.{name}" if key else str(name))
