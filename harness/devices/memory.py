"""The memory of one simulated device: bytes that only the device's own work can read.

The same pages are mapped twice. Tensors carry addresses of a mapping without any right, so that whoever reads device
memory as if it were the CPU's ends with SIGSEGV, as on a GPU; queued work goes through the other mapping.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading

import torch

#: Bytes of one device. Pages are real only once they are written.
SIZE = 1 << 30
#: As CUDA's allocator rounds: no two tensors share a line.
ALIGNMENT = 512
#: What memory holds that nobody has written yet, and what it holds once its tensor is gone.
_FRESH, _FREED = 0xA5, 0x5A


class OutOfMemory(RuntimeError):
    """The device has no room; a RuntimeError, as torch's OutOfMemoryError is."""


class Memory:
    """One device's memory: first-fit allocation, and how much was in use at most."""

    def __init__(self, size: int = SIZE) -> None:
        file = os.memfd_create("simulated-device", os.MFD_CLOEXEC)
        try:
            os.ftruncate(file, size)
            self._mapping = mmap.mmap(file, size)
            self.base = _forbidden_mapping(file, size)
        finally:
            os.close(file)
        #: All of it as the device sees it; for its work only.
        self.bytes = torch.frombuffer(self._mapping, dtype=torch.uint8)
        self._lock = threading.RLock()
        self._free = [(0, size)]
        self._used: dict[int, int] = {}
        self.allocated = 0
        self.peak = 0

    def allocate(self, count: int) -> int:
        """Returns the address of `count` fresh bytes.

        Raises:
            OutOfMemory: no hole is large enough.
        """
        room = max(ALIGNMENT, -(-count // ALIGNMENT) * ALIGNMENT)
        with self._lock:
            for place, (start, length) in enumerate(self._free):
                if length >= room:
                    self._free[place : place + 1] = [(start + room, length - room)] if length > room else []
                    break
            else:
                raise OutOfMemory(f"the simulated device has no {count} bytes left ({self.allocated} are in use)")
            self._used[start] = room
            self.allocated += room
            self.peak = max(self.peak, self.allocated)
        self.bytes[start : start + room] = _FRESH
        return self.base + start

    def release(self, address: int) -> None:
        """Take back what `allocate` gave, and spoil it."""
        start = address - self.base
        with self._lock:
            room = self._used.pop(start)
            self.allocated -= room
            self.bytes[start : start + room] = _FREED
            self._free = _joined(sorted([*self._free, (start, room)]))

    def seen_by_device(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a CPU tensor on the same elements, through the mapping that may be read.

        For the device's work only.
        """
        storage = tensor.untyped_storage()
        start, width = storage.data_ptr() - self.base, tensor.element_size()
        raw = self.bytes[start : start + storage.nbytes() // width * width]
        offset = raw.storage_offset() // width + tensor.storage_offset()
        seen = raw.view(tensor.dtype).as_strided(tensor.size(), tensor.stride(), offset)
        seen = seen.conj() if tensor.is_conj() else seen
        return seen._neg_view() if tensor.is_neg() else seen


def _joined(holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, length in holes:
        if joined and sum(joined[-1]) == start:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((start, length))
    return joined


def _forbidden_mapping(file: int, size: int) -> int:
    """Return the address of a mapping that nobody may read or write; Python's mmap always makes readable ones."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    address = libc.mmap(None, size, 0, mmap.MAP_SHARED, file, 0)  # 0: PROT_NONE
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "the simulated device's memory cannot be mapped")
    return int(address)
