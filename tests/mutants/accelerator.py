"""Bugs that only a device with memory and queues of its own shows; the matrix runs them on simulated ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from tests.mutants.making import engine, storage

DEVICE = "sim"


def _on_tensors(change: Callable[[torch.Tensor], torch.Tensor], state: Any) -> Any:
    return tree_map_only(torch.Tensor, change, state)


def _is_on_device(tensor: torch.Tensor) -> bool:
    return tensor.device.type != "cpu"


# Storages


def _resolving(planner: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A planner whose data goes through a change before the storage sees it."""
    return _Resolving(planner, change)


class _Resolving:
    def __init__(self, planner: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._planner, self._change = planner, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._planner, name)

    def resolve_data(self, item: Any) -> Any:
        data = self._planner.resolve_data(item)
        return self._change(data.detach()) if isinstance(data, torch.Tensor) else data


class _HastyWriter(control.Writer):
    """Copies without blocking, and waits for nothing."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        return super().write_data(plan, _resolving(planner, lambda tensor: tensor.to("cpu", non_blocking=True)))


class _FirstDeviceWriter(control.Writer):
    """Takes the address of a tensor, and forgets on which device it is one."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def at_the_address(tensor: torch.Tensor) -> torch.Tensor:
            wrong = _is_on_device(tensor) and tensor.device.index != 0
            return torch.zeros_like(tensor, device=torch.device(tensor.device.type, 0)) if wrong else tensor

        return super().write_data(plan, _resolving(planner, at_the_address))


class _SideStreamWriter(control.Writer):
    """Copies on a stream of its own, which waits for no other."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def copied(tensor: torch.Tensor) -> torch.Tensor:
            if not _is_on_device(tensor):
                return tensor
            with torch.Stream(device=tensor.device):
                return tensor.cpu()

        return super().write_data(plan, _resolving(planner, copied))


# Engines: save and load


@functools.wraps(reference_impl.load)
def _load_to_first(state_dict: Any, **kwargs: Any) -> Any:
    reference_impl.load(state_dict, **kwargs)
    for key, value in state_dict.items():
        if isinstance(value, torch.Tensor) and _is_on_device(value):
            state_dict[key] = value.to(torch.device(value.device.type, 0))


def _loads_a_copy(wrong: Callable[[torch.Tensor], bool], kind: str) -> Callable[..., Any]:
    """A load that fills copies of some tensors on another kind of device, and forgets to copy back."""

    @functools.wraps(reference_impl.load)
    def load(state_dict: Any, **kwargs: Any) -> Any:
        def copied(tensor: torch.Tensor) -> torch.Tensor:
            local = getattr(tensor, "_local_tensor", tensor)
            if not wrong(local):
                return tensor
            return tensor.clone() if local is not tensor else tensor.to(kind)

        reference_impl.load(_on_tensors(copied, state_dict), **kwargs)

    return load


@functools.wraps(reference_impl.save)
def _save_on_own_stream(state_dict: Any, **kwargs: Any) -> Any:
    if torch.accelerator.is_available():
        own = torch.Stream()
        own.wait_stream(torch.accelerator.current_stream())
        torch.accelerator.set_stream(own)
    return reference_impl.save(state_dict, **kwargs)


@functools.wraps(reference_impl.load)
def _load_from_first_device(state_dict: Any, **kwargs: Any) -> Any:
    reference_impl.load(state_dict, **kwargs)
    if torch.accelerator.is_available():
        torch.accelerator.set_device_index(0)


@functools.wraps(reference_impl.save)
def _save_a_clone(state_dict: Any, **kwargs: Any) -> Any:
    return reference_impl.save(_on_tensors(torch.Tensor.clone, state_dict), **kwargs)


# Engines: async_save


def _async_save(stage: Callable[[Any], Any]) -> Callable[..., Any]:
    """The reference's async_save with `stage` in the place of any stager."""

    class Stager:
        should_synchronize_after_execute = False

        def stage(self, state_dict: Any) -> Any:
            return stage(state_dict)

        def synchronize_staging(self) -> None:
            """Nothing is waited for."""

        def close(self) -> None:
            """Nothing is held."""

    @functools.wraps(reference_impl.async_save)
    def async_save(state_dict: Any, **kwargs: Any) -> Any:
        return reference_impl.async_save(state_dict, **{**kwargs, "async_stager": Stager()})

    return async_save


def _on_a_stream(tensor: torch.Tensor) -> torch.Tensor:
    if not _is_on_device(tensor):
        return tensor.clone()
    with torch.Stream(device=tensor.device) as stream:
        copied = tensor.to("cpu", non_blocking=True)
    stream.synchronize()
    return copied


def _without_waiting(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to("cpu", non_blocking=True) if _is_on_device(tensor) else tensor.clone()


_pinned: list[torch.Tensor] = []


def _pin_for_good(tensor: torch.Tensor) -> torch.Tensor:
    _pinned.append(tensor.cpu().pin_memory())
    return _pinned[-1]


@functools.wraps(reference_impl.async_save)
def _in_any_group(state_dict: Any, **kwargs: Any) -> Any:
    group = kwargs.get("process_group")
    if group is not None and torch.device("cpu") not in group._device_types:
        done: Future[None] = Future()
        done.set_result(None)
        return done
    return reference_impl.async_save(state_dict, **kwargs)


writes_before_the_copy_is_done = storage(breaks=["WRITE-20", "TYPE-13"], writer=_HastyWriter)
reads_the_first_device = storage(breaks=["TYPE-13"], writer=_FirstDeviceWriter)
reads_on_a_stream_of_its_own = storage(breaks=["WRITE-20"], writer=_SideStreamWriter)
restores_to_the_first_device = engine(breaks=["TYPE-17"], load=_load_to_first)
fills_a_copy_on_the_cpu = engine(breaks=["TYPE-17", "DEV-06"], load=_loads_a_copy(_is_on_device, "cpu"))
fills_a_copy_on_the_device = engine(
    breaks=["DEV-06", "DEV-08"], load=_loads_a_copy(lambda tensor: not _is_on_device(tensor), DEVICE)
)
leaves_its_stream_current = engine(breaks=["DEV-01"], save=_save_on_own_stream)
leaves_the_first_device_current = engine(breaks=["DEV-01"], load=_load_from_first_device)
stages_by_reference = engine(breaks=["DEV-02"], async_save=_async_save(dict))
stages_on_a_stream_that_waits_for_nobody = engine(
    breaks=["DEV-03"],
    async_save=_async_save(functools.partial(_on_tensors, _on_a_stream)),
)
does_not_wait_for_its_staging_stream = engine(
    breaks=["DEV-02", "DEV-03"], async_save=_async_save(functools.partial(_on_tensors, _without_waiting))
)
pins_and_never_frees = engine(breaks=["DEV-04"], async_save=_async_save(functools.partial(_on_tensors, _pin_for_good)))
clones_the_state_on_its_device = engine(breaks=["DEV-05"], save=_save_a_clone)
overlooks_a_group_without_cpu = engine(breaks=["ASYNC-10"], async_save=_in_any_group)
