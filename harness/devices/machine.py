"""The simulated machine of one process: its devices' memories, their queues, pinned memory, and who is current."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

from dcp_conformance.harness.devices import SIMULATED as KIND
from dcp_conformance.harness.devices import blob
from dcp_conformance.harness.devices.memory import Memory
from dcp_conformance.harness.devices.pinned import Pinned
from dcp_conformance.harness.devices.work import DEFAULT, Work


class Machine:
    """`count` simulated devices."""

    def __init__(self, count: int) -> None:
        self.memories = [Memory() for _ in range(count)]
        self.work = Work()
        self.pinned = Pinned()
        self._thread = threading.local()

    @property
    def count(self) -> int:
        """Number of devices."""
        return len(self.memories)

    @property
    def current(self) -> int:
        """The calling thread's device. A new thread starts on device 0, as with CUDA, whatever its parent chose."""
        return int(getattr(self._thread, "device", 0))

    @current.setter
    def current(self, index: int) -> None:
        if not 0 <= index < self.count:
            raise RuntimeError(f"there is no device {KIND}:{index}; there are {self.count}")
        self._thread.device = index

    def queue(self, index: int) -> int:
        """Return the calling thread's current queue on a device."""
        return int(self._queues().get(index, DEFAULT))

    def use_queue(self, index: int, queue: int) -> None:
        """Let the calling thread's work on a device go into `queue`."""
        self._queues()[index] = queue

    def put(self, index: int, action: Callable[[], None]) -> None:
        """Queue work behind what the calling thread queued on that device."""
        self.work.put(index, self.queue(index), action)

    def finish_current(self, index: int) -> None:
        """Wait as a blocking copy waits: for the calling thread's current queue, and for no other."""
        self.work.finish_queue(index, self.queue(index))

    def empty(
        self, size: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        """Return a tensor on that device; what it holds is nothing that anybody wrote."""
        index = self.current if device.index is None else device.index
        if not 0 <= index < self.count:
            raise RuntimeError(f"there is no device {KIND}:{index}; there are {self.count}")
        memory, count = self.memories[index], span(size, stride) * dtype.itemsize
        address = memory.allocate(count)
        raw = blob.bytes_at(
            address, count, kind=blob.EXTENSION, index=index, freed=lambda: memory.release(address)
        )  # fmt: skip
        return raw.view(dtype).as_strided(size, stride)

    def seen_by_device(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a device tensor as its device's work sees it; any other as it is."""
        if tensor.device.type != KIND:
            return tensor
        return self.memories[tensor.device.index].seen_by_device(tensor)

    def _queues(self) -> dict[int, int]:
        if not hasattr(self._thread, "queues"):
            self._thread.queues = {}
        queues: dict[int, int] = self._thread.queues
        return queues


def span(size: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Elements from the first to the last that a tensor of this shape reaches."""
    if 0 in size:
        return 0
    return 1 + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
