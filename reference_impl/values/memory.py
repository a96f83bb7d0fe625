"""The bytes of tensors in memory."""

from __future__ import annotations

import ctypes
import zlib

import torch


def memory_of(tensor: torch.Tensor) -> memoryview:
    """Return the bytes of a contiguous CPU tensor, writable."""
    size = tensor.numel() * tensor.element_size()
    if size == 0:
        return memoryview(bytearray())
    return memoryview((ctypes.c_char * size).from_address(tensor.data_ptr())).cast("B")


def digest(tensor: torch.Tensor) -> int:
    """Return a CRC-32 of the elements in row-major order, wherever the tensor lies."""
    plain = tensor.detach().as_subclass(torch.Tensor).cpu().resolve_conj().resolve_neg().contiguous()
    return zlib.crc32(memory_of(plain))
