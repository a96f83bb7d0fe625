"""Tensors whose every byte follows from a formula of (name, version, position), so that nothing is stored twice.

`pattern` covers every dtype with arbitrary bits (NaN payloads, -0.0 and denormals included). `coded` holds numbers that
tell where they come from: a wrong element names its own key, version and position.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import torch

KEYS_PER_VERSION = 1 << 12
POSITIONS_PER_KEY = 1 << 24


def pattern(name: str, shape: tuple[int, ...], dtype: torch.dtype, *, version: int = 0) -> torch.Tensor:
    """Make a contiguous CPU tensor whose bits are a fixed function of name, version and position."""
    seed = zlib.crc32(f"{name}/{version}".encode())
    count = math.prod(shape) * dtype.itemsize
    # Two multiplicative rounds on the byte's position: neighbours are unrelated, and no generator state is touched.
    mixed = (torch.arange(count, dtype=torch.int64) + seed) * 6364136223846793005
    mixed = (mixed ^ (mixed >> 29)) * 2862933555777941757
    raw = (mixed >> 40).bitwise_and(0xFF).to(torch.uint8)
    if dtype == torch.bool:
        return raw.bitwise_and(1).to(torch.bool).reshape(shape)
    return raw.view(dtype).reshape(shape)


def coded(key: int, shape: tuple[int, ...], *, version: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Return a tensor of whole numbers, exact in float64 and int64, each naming its version, key and flat position.

    key: below 4096; version: below 2^17; number of elements: below 2^24.
    """
    positions = torch.arange(math.prod(shape), dtype=torch.int64).reshape(shape)
    return (positions + code(key, version)).to(dtype)


def code(key: int, version: int) -> int:
    """Return the number that position 0 of `coded(key, version=version)` holds."""
    return (version * KEYS_PER_VERSION + key) * POSITIONS_PER_KEY


def decode(number: float) -> str:
    """Return what a coded number says of itself, as words for a failure sentence."""
    whole = int(number)
    position, rest = whole % POSITIONS_PER_KEY, whole // POSITIONS_PER_KEY
    return f"version {rest // KEYS_PER_VERSION}, key {rest % KEYS_PER_VERSION}, position {position}"


def resolved(tensor: torch.Tensor) -> torch.Tensor:
    """Return the elements of a tensor, whatever its layout or lazy bits, in order and in memory of their own."""
    if tensor.dtype == torch.float4_e2m1fn_x2:
        # torch 2.9 copies no float4; as bytes, it does.
        return tensor.view(torch.uint8).clone(memory_format=torch.contiguous_format).view(tensor.dtype)
    return tensor.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)


def blank(value: Any) -> Any:
    """Make a template like `value`: its tensors hold other bits in memory of their own, its other leaves are None.

    Tensors keep dtype, shape and device; mappings and lists keep their structure.
    """
    if isinstance(value, torch.Tensor):
        return other_bits(value)
    if isinstance(value, dict):
        return {key: blank(item) for key, item in value.items()}
    if isinstance(value, list):
        return [blank(item) for item in value]
    return None


def other_bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return a dense tensor like `tensor` of which every element differs from it."""
    target = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    if tensor.dtype == torch.bool:
        return target.copy_(~tensor)
    raw = resolved(tensor.detach()).reshape(-1).view(torch.uint8)
    return (raw ^ 0xFF).view(tensor.dtype).reshape(tensor.shape)
