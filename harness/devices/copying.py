"""Copies between a simulated device and the CPU: who waits for whom, as the CUDA documentation has it.

A blocking copy waits for the caller's current queue. One with non_blocking=True is queued if the CPU's side is pinned:
then the CPU's memory is read or written when the queue gets there. Between devices both current queues take part.
"""

from __future__ import annotations

import torch

from dcp_conformance.harness.devices import SIMULATED as KIND
from dcp_conformance.harness.devices.machine import Machine, span


def copy(machine: Machine, source: torch.Tensor, target: torch.Tensor, *, non_blocking: bool) -> torch.Tensor:
    """Copy with conversion and broadcasting, at once or queued; returns `target`."""
    if source.device.type == KIND and target.device.type == KIND:
        return _on_devices(machine, source, target)
    index = (source if source.device.type == KIND else target).device.index
    outside = target if source.device.type == KIND else source
    seen_source, seen_target = machine.seen_by_device(source), machine.seen_by_device(target)
    if non_blocking and machine.pinned.holds(outside):
        machine.put(index, _Copy(seen_source, seen_target, keep=(source, target)))
        return target
    machine.finish_current(index)
    seen_target.copy_(seen_source)
    return target


class _Copy:
    """A queued copy; it keeps alive the tensors whose memory it will touch."""

    def __init__(self, source: torch.Tensor, target: torch.Tensor, *, keep: tuple[torch.Tensor, ...]) -> None:
        self._source, self._target, self._keep = source, target, keep

    def __call__(self) -> None:
        with torch.no_grad():
            self._target.copy_(self._source)


def _on_devices(machine: Machine, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    start, end = source.device.index, target.device.index
    action = _Copy(machine.seen_by_device(source), machine.seen_by_device(target), keep=(source, target))
    if start != end:
        machine.work.wait(start, machine.queue(start), machine.work.mark(end, machine.queue(end)))
    machine.put(start, action)
    if start != end:
        machine.work.wait(end, machine.queue(end), machine.work.mark(start, machine.queue(start)))
    return target


def moved(
    machine: Machine, tensor: torch.Tensor, *, dtype: torch.dtype | None, device: torch.device | None,
    non_blocking: bool, memory_format: torch.memory_format | None,
) -> torch.Tensor:  # fmt: skip
    """Return what `tensor.to(...)` makes of a tensor that is on a device or goes to one, and has to be copied."""
    device, dtype = device or tensor.device, dtype or tensor.dtype
    kept = torch.preserve_format if memory_format is None else memory_format
    shape = torch.empty_like(tensor, dtype=dtype, device="meta", memory_format=kept)
    if device.type == KIND:
        target = machine.empty(tuple(shape.shape), shape.stride(), dtype, device)
    elif non_blocking and device.type == "cpu":  # as for CUDA, the CPU's side is pinned then
        target = pinned_like(machine, shape)
    else:
        target = torch.empty_strided(shape.shape, shape.stride(), dtype=dtype, device=device)
    return copy(machine, tensor, target, non_blocking=non_blocking)


def pinned_like(machine: Machine, tensor: torch.Tensor) -> torch.Tensor:
    """Return a pinned CPU tensor of the same shape, strides and dtype."""
    size, stride = tuple(tensor.shape), tensor.stride()
    raw = machine.pinned.empty(span(size, stride) * tensor.element_size())
    return raw.view(tensor.dtype).as_strided(size, stride)
