"""Pinned memory beside a simulated device: CPU memory that the device's copies may reach while the caller goes on."""

from __future__ import annotations

import ctypes
import threading

import torch

from dcp_conformance.harness.devices import blob


class Pinned:
    """The pinned memory of this process, and how much of it there is."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}

    @property
    def allocated(self) -> int:
        """Bytes that are pinned now."""
        with self._lock:
            return sum(map(ctypes.sizeof, self._blocks.values()))

    def empty(self, count: int) -> torch.Tensor:
        """Return a CPU tensor of `count` pinned bytes."""
        block = ctypes.create_string_buffer(max(1, count))
        address = ctypes.addressof(block)
        with self._lock:
            self._blocks[address] = block
        return blob.bytes_at(address, count, kind=blob.CPU, index=0, freed=lambda: self._release(address))

    def holds(self, tensor: torch.Tensor) -> bool:
        """Tell whether the tensor's memory is pinned."""
        with self._lock:
            return tensor.layout == torch.strided and tensor.untyped_storage().data_ptr() in self._blocks

    def _release(self, address: int) -> None:
        with self._lock:
            del self._blocks[address]
