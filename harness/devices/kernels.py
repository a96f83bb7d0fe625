"""What torch's operators do on a simulated device: one fallback for all of them, and the few that it cannot be for.

An operator's outputs get their shapes from the meta device and their memory at once; its work is queued and runs on
the CPU. An operator whose output hangs on values (`item`, `nonzero`, `equal`) waits for the current queue, as on a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from dcp_conformance.harness.devices import SIMULATED as KIND
from dcp_conformance.harness.devices import copying
from dcp_conformance.harness.devices.machine import Machine

_TAKES_CPU_INDICES = ("index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_")


def register(machine: Machine) -> list[Any]:
    """Make `machine` what torch's operators run on; the caller keeps the registrations alive."""
    library: Any = torch.library.Library
    everything, some = library("_", "IMPL"), library("aten", "IMPL")
    everything.fallback(_below_autograd(_Fallback(machine)), "PrivateUse1")
    for name, kernel in _kernels(machine).items():
        some.impl(name, _below_autograd(kernel), "PrivateUse1")
    for key in ("Conjugate", "Negative"):  # copies see lazy bits and resolve them; torch would ask for a copy again
        some.impl("_copy_from", torch.library.fallthrough_kernel, key)
    for name, kernel in _pinning(machine).items():
        some.impl(name, kernel, "CPU")
    return [everything, some]


def _kernels(machine: Machine) -> dict[str, Callable[..., Any]]:
    def empty(size: Any, *, dtype: Any = None, device: Any = None, memory_format: Any = None, **_: Any) -> Any:
        shape = torch.empty(size, dtype=dtype, device="meta", memory_format=memory_format or torch.contiguous_format)
        return machine.empty(tuple(shape.shape), shape.stride(), shape.dtype, device)

    def empty_strided(size: Any, stride: Any, *, dtype: Any = None, device: Any = None, **_: Any) -> Any:
        return machine.empty(tuple(size), tuple(stride), dtype or torch.get_default_dtype(), device)

    def copy_from(source: Any, target: Any, non_blocking: bool = False) -> Any:
        return copying.copy(machine, source, target, non_blocking=non_blocking)

    def copy_and_resize(source: Any, target: Any) -> Any:
        return copying.copy(machine, source, target.resize_(source.shape), non_blocking=False)

    def to_copy(
        tensor: Any, *, dtype: Any = None, device: Any = None, non_blocking: bool = False, memory_format: Any = None,
        **_: Any,
    ) -> Any:  # fmt: skip
        return copying.moved(
            machine, tensor, dtype=dtype, device=device, non_blocking=non_blocking, memory_format=memory_format
        )

    def resize(tensor: Any, size: Any, *, memory_format: Any = None) -> Any:
        shape = torch.empty(size, dtype=tensor.dtype, device="meta")
        grown = machine.empty(tuple(shape.shape), shape.stride(), tensor.dtype, tensor.device)
        kept = min(grown.numel(), tensor.numel())
        grown.view(-1)[:kept].copy_(tensor.reshape(-1)[:kept])
        return tensor.set_(grown.untyped_storage(), 0, shape.shape, shape.stride())

    return {
        "empty.memory_format": empty, "empty_strided": empty_strided, "_copy_from": copy_from,
        "_copy_from_and_resize": copy_and_resize, "_to_copy": to_copy, "resize_": resize,
        **{name: _as_on_cpu(name) for name in ("set_.source_Storage", "set_.source_Storage_storage_offset",
                                               "set_.source_Tensor")},
    }  # fmt: skip


def _as_on_cpu(name: str) -> Callable[..., Any]:
    """Return the CPU's kernel, for what changes only a tensor's shape and strides and never looks at its memory."""
    packet, _, overload = name.partition(".")
    operator = getattr(getattr(torch.ops.aten, packet), overload or "default")
    return lambda *args, **kwargs: operator._op_dk(torch._C.DispatchKey.CPU, *args, **kwargs)


def _pinning(machine: Machine) -> dict[str, Callable[..., Any]]:
    def pin(tensor: torch.Tensor, device: Any = None) -> torch.Tensor:
        return copying.pinned_like(machine, tensor.contiguous()).copy_(tensor)

    return {"_pin_memory": pin, "is_pinned": lambda tensor, device=None: machine.pinned.holds(tensor)}


def _below_autograd(kernel: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd(), torch.no_grad():
            return kernel(*args, **kwargs)

    return run


class _Fallback:
    """Any operator without a kernel of its own."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __call__(self, operator: Any, *args: Any, **kwargs: Any) -> Any:
        returns = operator._schema.returns
        if any(item.alias_info is not None and not item.alias_info.is_write for item in returns):
            return operator._op_dk(torch._C.DispatchKey.CPU, *args, **kwargs)  # a view: no memory is looked at
        index = _device_of(operator, args, kwargs)
        written = [_written(operator, item, args, kwargs) for item in returns]
        if returns and all(item is not None for item in written):
            self._grow_outputs(operator, args, kwargs)
            outputs: Any = written[0] if len(written) == 1 else tuple(written)
        else:
            outputs = self._outputs(operator, args, kwargs, index)
            if outputs is None:
                return self._at_once(operator, args, kwargs, index)
        self._queue(operator, args, kwargs, index, outputs)
        return outputs if returns else None

    def _grow_outputs(self, operator: Any, args: Any, kwargs: Any) -> None:
        """Give tensors behind out= the shape that the operator will give them."""
        names = [item.name for item in operator._schema.arguments if item.kwarg_only and item.alias_info is not None]
        if not any(name in kwargs for name in names):
            return
        shapes, named = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), (args, _to_meta(kwargs)))
        operator(*shapes, **named)
        for name in names:
            if kwargs[name].shape != named[name].shape:
                kwargs[name].resize_(named[name].shape)

    def _outputs(self, operator: Any, args: Any, kwargs: Any, index: int) -> Any:
        """Return the tensors of the right shapes for what the operator will compute.

        None where only the values tell them.
        """
        if not all("Tensor" in str(item.type) for item in operator._schema.returns):
            return None
        shapes = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), (args, _to_meta(kwargs)))
        try:
            made = operator(*shapes[0], **shapes[1])
        except (NotImplementedError, RuntimeError):  # no kernel for meta tensors, or an output of unknown shape
            return None
        device = torch.device(KIND, index)
        return tree_map_only(
            torch.Tensor, lambda item: self._machine.empty(tuple(item.shape), item.stride(), item.dtype, device), made
        )

    def _queue(self, operator: Any, args: Any, kwargs: Any, index: int, outputs: Any) -> None:
        seen_args, seen_kwargs = self._seen(args, kwargs)
        fresh = not any(outputs is item for item in tree_leaves((args, kwargs)))
        targets = tree_map_only(torch.Tensor, self._machine.seen_by_device, outputs)
        keep = (args, kwargs, outputs)

        def work() -> None:
            with torch.no_grad():
                computed = operator(*seen_args, **seen_kwargs)
                if fresh:
                    for target, value in zip(tree_leaves(targets), tree_leaves(computed), strict=True):
                        _put_into(target, value)
            assert keep  # what the work touches lives until it has run

        self._machine.put(index, work)

    def _at_once(self, operator: Any, args: Any, kwargs: Any, index: int) -> Any:
        self._machine.finish_current(index)
        seen_args, seen_kwargs = self._seen(args, kwargs)
        computed = operator(*seen_args, **seen_kwargs)
        device = torch.device(KIND, index)
        return tree_map_only(torch.Tensor, lambda item: item.to(device), computed)

    def _seen(self, args: Any, kwargs: Any) -> Any:
        seen_args, seen_kwargs = tree_map_only(torch.Tensor, self._machine.seen_by_device, (args, kwargs))
        if "device" in seen_kwargs:
            seen_kwargs = {**seen_kwargs, "device": torch.device("cpu")}
        return seen_args, seen_kwargs


def _put_into(target: Any, value: Any) -> None:
    if isinstance(target, torch.Tensor):
        target.copy_(value)


def _to_meta(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {**kwargs, "device": torch.device("meta")} if kwargs.get("device") is not None else kwargs


def _written(operator: Any, item: Any, args: Any, kwargs: Any) -> Any:
    """Return the argument that a return is, for operators in place and with out=; None for others."""
    if item.alias_info is None:
        return None
    for place, parameter in enumerate(operator._schema.arguments):
        alias = parameter.alias_info
        if alias is not None and alias.is_write and alias.before_set & item.alias_info.before_set:
            return kwargs.get(parameter.name) if parameter.name in kwargs else args[place]
    return None


def _device_of(operator: Any, args: Any, kwargs: Any) -> int:
    """Return the one device of an operator's tensors.

    Raises:
        RuntimeError: they lie on several devices.
    """
    tensors = list(_tensors(args, kwargs))
    indices = {tensor.device.index for tensor in tensors if tensor.device.type == KIND}
    mixed = operator._schema.name.removeprefix("aten::") not in _TAKES_CPU_INDICES
    strangers = [tensor for tensor in tensors if tensor.device.type != KIND and tensor.dim() > 0 and mixed]
    if len(indices) > 1 or strangers:
        places = sorted({str(tensor.device) for tensor in tensors})
        raise RuntimeError(f"{operator}: expected all tensors to be on the same device, found {', '.join(places)}")
    if indices:
        return int(indices.pop())
    named = kwargs.get("device")
    return int(named.index) if named is not None and named.index is not None else 0


def _tensors(args: Any, kwargs: Any) -> Iterator[torch.Tensor]:
    for leaf in tree_leaves((args, kwargs)):
        if isinstance(leaf, torch.Tensor):
            yield leaf


@contextlib.contextmanager
def on_device(machine: Machine, index: int) -> Iterator[None]:
    """Work on a device, and come back."""
    before, machine.current = machine.current, index
    try:
        yield
    finally:
        machine.current = before
