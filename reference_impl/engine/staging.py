"""Copies of a state dict that later training steps cannot change: what an asynchronous save writes from.

Tensors are copied to the CPU. Tensors that share memory share it in the copy too, as long as that does not copy much
more than is used: of a small view of a large buffer only the view is copied. Every call makes new copies, so a stager
can be used again while an earlier save still writes from the last ones.
"""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch.distributed._shard.sharded_tensor import Shard, ShardedTensor
from torch.distributed.tensor import DTensor

from dcp_conformance.reference_impl.interchange import StateDict
from dcp_conformance.reference_impl.values.described import take_description


@runtime_checkable
class AsyncStager(Protocol):
    """What ``async_save`` needs of a stager; torch's protocol of the same name has these members too."""

    @property
    def should_synchronize_after_execute(self) -> bool:
        """Whether ``async_save`` waits in ``synchronize_staging`` before it returns."""

    def stage(self, state_dict: StateDict) -> Future[StateDict] | StateDict:
        """Return a copy of ``state_dict`` that later changes do not reach, now or in a future."""

    def synchronize_staging(self) -> None:
        """Wait until staging is complete."""

    def close(self) -> None:
        """Release what the stager holds."""


@dataclass
class StagingOptions:
    """How ``DefaultStager`` copies."""

    #: Speeds up copies from an accelerator, and means nothing without one.
    use_pinned_memory: bool = True
    #: Puts the copies where other processes can map them.
    use_shared_memory: bool = True
    #: Copies in a thread, and ``stage`` returns a future.
    use_async_staging: bool = True
    #: Speeds up copies from an accelerator, and means nothing without one.
    use_non_blocking_copy: bool = True


class DefaultStager:
    """Stages to the CPU. Close it when it is no longer needed; ``async_save`` closes only one that it made itself."""

    #: ``stage`` without a future has finished when it returns; with one, ``async_save`` does not wait.
    should_synchronize_after_execute = True

    def __init__(self, config: StagingOptions | None = None) -> None:
        self._config = config or StagingOptions()
        self._executor = ThreadPoolExecutor(1, "staging") if self._config.use_async_staging else None
        self._last: Future[StateDict] | None = None

    def stage(self, state_dict: StateDict, **_: Any) -> Future[StateDict] | StateDict:
        """Copy ``state_dict``. Raises what copying a value raises (in the future, with ``use_async_staging``)."""
        if self._executor is None:
            return self._copy(state_dict)
        # The thread has streams of its own, which would not wait for the kernels that were queued before the call.
        queued = [torch.accelerator.current_stream(device).record_event() for device in _devices(state_dict)]
        self._last = staged = self._executor.submit(self._copy_after, queued, state_dict)
        staged.add_done_callback(self._forget)
        return staged

    def _forget(self, done: Future[StateDict]) -> None:
        # The stager must not keep the copy alive once it is made.
        if self._last is done and done.exception() is None:
            self._last = None

    def synchronize_staging(self) -> None:
        """Wait for the last ``stage``."""
        if self._last is not None:
            self._last.result()

    def close(self) -> None:
        """End the staging thread, if there is one."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)
        self._last = None

    def _copy_after(self, queued: list[torch.Event], state_dict: StateDict) -> StateDict:
        for event in queued:
            event.synchronize()
        return self._copy(state_dict)

    def _copy(self, state_dict: StateDict) -> StateDict:
        non_blocking = self._config.use_non_blocking_copy and torch.accelerator.is_available()
        # A copy that remembered its history would keep the training graph alive.
        with torch.no_grad():
            copied: StateDict = Snapshot(
                pin=self._config.use_pinned_memory and torch.accelerator.is_available(),
                share=self._config.use_shared_memory,
                non_blocking=non_blocking,
            ).of(state_dict)
        # A non-blocking copy has only been queued: until the stream is through, the bytes on the CPU are whatever they
        # were.
        for device in _devices(state_dict) if non_blocking else ():
            torch.accelerator.current_stream(device).synchronize()
        return copied


@dataclass(frozen=True)
class Snapshot:
    """Makes one copy. First all plain tensors are found, then each piece of memory is copied once."""

    pin: bool = False
    share: bool = False
    non_blocking: bool = False

    def of(self, value: Any) -> Any:
        """Return a copy of ``value`` that shares nothing with it that can change."""
        found: dict[int, torch.Tensor] = {}
        _collect(value, found)
        copies = self._copied(found)
        # copy.deepcopy consults the memo first, so tensors inside unknown objects become their copies as well.
        return _rebuild(value, copies, dict(copies))

    def _copied(self, found: dict[int, torch.Tensor]) -> dict[int, Any]:
        groups: dict[Any, list[tuple[int, torch.Tensor]]] = defaultdict(list)
        for key, tensor in found.items():
            groups[_memory_key(key, tensor)].append((key, tensor))
        copies: dict[int, Any] = {}
        for group in groups.values():
            first, end = _hull([tensor for _, tensor in group])
            used = sum(tensor.nbytes for _, tensor in group)
            # Twice is the price that sharing may have: beyond it, tensors of one buffer are copied apart.
            if len(group) > 1 and end - first <= 2 * used:
                copies.update(self._share_copy(group, first, end))
            else:
                copies.update((key, self._single_copy(tensor)) for key, tensor in group)
        for key, tensor in found.items():
            take_description(tensor, copies[key])
        return copies

    def _single_copy(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested or tensor.is_meta:
            # These have no plain bytes to be laid out by size and dtype; torch copies them as they are.
            return tensor.detach().clone()
        source = plain(tensor).resolve_conj().resolve_neg()
        target = self._empty(source.nbytes).view(source.dtype).view(source.size())
        return target.copy_(source, non_blocking=self.non_blocking)

    def _share_copy(self, group: list[tuple[int, torch.Tensor]], first: int, end: int) -> dict[int, torch.Tensor]:
        """Copy the bytes from ``first`` to ``end`` of a storage once, with all its tensors as views of the copy."""
        storage = group[0][1].untyped_storage()
        source = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)[first:end]
        target = self._empty(end - first).copy_(source, non_blocking=self.non_blocking)
        views: dict[int, torch.Tensor] = {}
        for key, tensor in group:
            start = (tensor.storage_offset() * tensor.element_size() - first) // tensor.element_size()
            views[key] = target.view(tensor.dtype).as_strided(tensor.size(), tensor.stride(), start)
        return views

    def _empty(self, nbytes: int) -> torch.Tensor:
        data = torch.empty(nbytes, dtype=torch.uint8, device="cpu", pin_memory=self.pin)
        if self.share and not self.pin:
            data.share_memory_()  # type: ignore[no-untyped-call]
        return data


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without its autograd history and its subclass."""
    tensor = tensor.detach()
    return tensor if type(tensor) is torch.Tensor else tensor.as_subclass(torch.Tensor)


def _memory_key(key: int, tensor: torch.Tensor) -> Any:
    """Tensors with the same key may share one copy. Views that need their elements changed are copied singly."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested or tensor.is_meta:
        return key
    if tensor.is_conj() or tensor.is_neg() or tensor.numel() == 0:
        return key
    storage = tensor.untyped_storage()
    # With the element size, as views of other sizes need not start at a whole element of the copy.
    return (storage.data_ptr(), tensor.device, tensor.element_size())


def _hull(tensors: list[torch.Tensor]) -> tuple[int, int]:
    """Return the first byte and end, in their storage, of what these tensors use; whole elements."""
    if any(tensor.layout != torch.strided or tensor.is_meta or tensor.numel() == 0 for tensor in tensors):
        return (0, 0)
    starts = [tensor.storage_offset() * tensor.element_size() for tensor in tensors]
    ends = [
        (tensor.storage_offset() + sum((n - 1) * s for n, s in zip(tensor.size(), tensor.stride(), strict=True)) + 1)
        * tensor.element_size()
        for tensor in tensors
    ]
    return int(min(starts)), int(max(ends))


def _collect(value: Any, found: dict[int, torch.Tensor]) -> None:
    """Collect all plain tensors in containers, and the local ones of sharded tensors, by their id."""
    stack = [value]
    while stack:
        current = stack.pop()
        if isinstance(current, DTensor):
            stack.append(current._local_tensor)
        elif isinstance(current, ShardedTensor):
            stack.extend(shard.tensor for shard in current.local_shards())
        elif _is_copyable(current):
            found[id(current)] = current
        elif isinstance(current, Mapping):
            stack.extend(current.values())
        elif isinstance(current, (list, tuple)):
            stack.extend(current)


def _devices(state_dict: StateDict) -> set[torch.device]:
    """Return the devices on which tensors of the state lie and kernels may still be writing them."""
    found: dict[int, torch.Tensor] = {}
    _collect(state_dict, found)
    return {tensor.device for tensor in found.values() if tensor.device.type not in ("cpu", "meta")}


def _is_copyable(value: Any) -> bool:
    # A wrapper subclass with hooks of its own is an object with parts, not memory.
    return isinstance(value, torch.Tensor) and not hasattr(type(value), "__create_chunk_list__")


def _rebuild(value: Any, copies: dict[int, Any], memo: dict[int, Any]) -> Any:
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, DTensor):
        local = _rebuild(value._local_tensor, copies, memo)
        return DTensor(local, value._spec, requires_grad=False)  # type: ignore[no-untyped-call]
    if isinstance(value, ShardedTensor):
        return _rebuild_sharded(value, copies, memo)
    # Exact types only: a subclass may take other arguments, and deepcopy knows how to ask it.
    if type(value) in (dict, OrderedDict):
        return type(value)((copy.deepcopy(k), _rebuild(v, copies, memo)) for k, v in value.items())
    if type(value) is list:
        return [_rebuild(item, copies, memo) for item in value]
    if type(value) is tuple:
        return tuple([_rebuild(item, copies, memo) for item in value])
    return copy.deepcopy(value, memo)


def _rebuild_sharded(value: ShardedTensor, copies: dict[int, Any], memo: dict[int, Any]) -> ShardedTensor:
    """Return the same ShardedTensor with copied local shards; what is known of the other ranks' shards is shared."""
    twin: ShardedTensor = ShardedTensor.__new__(
        ShardedTensor,
        value.sharding_spec(),
        value.size(),
        dtype=value.dtype,
        layout=value.layout,
        pin_memory=False,
        requires_grad=False,
    )
    twin.__dict__.update(value.__dict__)
    twin._sharded_tensor_id = None  # the id belongs to the original, which unregisters it when it dies
    twin._local_shards = [Shard(_rebuild(shard.tensor, copies, memo), shard.metadata) for shard in value.local_shards()]
    return twin
