"""Starts the simulated devices in this process: from then on torch knows an accelerator called `sim`.

Python may register a kind of device with torch (torch.utils.backend_registration), its operators and its memory, and
not its streams, its current device and its allocator's counters: torch asks C++ for these. Their few functions are
replaced by ours. A process can start this once and never stop it; only ranks do.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.utils import backend_registration

from dcp_conformance.harness.devices import SIMULATED as KIND
from dcp_conformance.harness.devices import copying, kernels, streams
from dcp_conformance.harness.devices.machine import Machine

#: Devices of a process. Processes share none, as if each had been given its own.
COUNT = 4


#: The process-group backend of these devices: it can be had, and carries no tensor of theirs.
GROUP = "simulated"


class _Started:
    machine: Machine | None = None
    registrations: list[Any] = []  # noqa: RUF012  they end when nobody holds them


def available() -> bool:
    """Tell whether this torch can carry the simulation (2.13 can; older ones may lack the doors for Python)."""
    return hasattr(torch._C, "_acc") and hasattr(backend_registration, "_setup_privateuseone_for_python_backend")


def running() -> Machine | None:
    """Return the simulated machine of this process, if it was started."""
    return _Started.machine


def start(count: int = COUNT) -> Machine:
    """Give this process `count` simulated devices; again, the ones that it has.

    Raises:
        RuntimeError: this torch cannot carry them, or has a real accelerator, beside which it knows no other.
    """
    if _Started.machine is not None:
        return _Started.machine
    if not available():
        raise RuntimeError(f"torch {torch.__version__} cannot simulate devices: it has no hook for them in Python")
    machine = _Started.machine = Machine(count)
    streams.Stream.machine = machine
    _introduce(machine)
    _Started.registrations = kernels.register(machine)
    _replace_accelerator_functions(machine)
    _replace_factories(machine)
    # A group for this device alone, as NCCL's for cuda: nobody can send CPU tensors through it, or objects.
    dist.Backend.register_backend(GROUP, _group, devices=[KIND])
    return machine


def _group(store: Any, rank: int, size: int, timeout: datetime.timedelta) -> Any:
    return dist.ProcessGroupGloo(store, rank, size, timeout)


def _introduce(machine: Machine) -> None:
    hooks: Any = torch._C._acc

    class _Hooks(hooks.PrivateUse1Hooks):  # type: ignore[misc]
        def is_available(self) -> bool:
            return True

        def is_built(self) -> bool:
            return True

        def has_primary_context(self, index: int) -> bool:
            return 0 <= index < machine.count

    backend_registration._setup_privateuseone_for_python_backend(KIND, Module(machine), _Hooks(), None)


class Module:
    """What `torch.sim` is; the names are those of torch.cuda."""

    Stream, Event = streams.Stream, streams.Event

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Do nothing: random numbers come from the CPU's generator."""

    def device_count(self) -> int:
        return self._machine.count

    def current_device(self) -> int:
        return self._machine.current

    def set_device(self, device: Any) -> None:
        self._machine.current = streams.place(self._machine, device).index

    @contextmanager
    def device(self, device: Any) -> Iterator[None]:
        with kernels.on_device(self._machine, streams.place(self._machine, device).index):
            yield

    def current_stream(self, device: Any = None) -> streams.Stream:
        return streams.current_stream(device)

    def default_stream(self, device: Any = None) -> streams.Stream:
        return streams.default_stream(device)

    def stream(self, stream: Any) -> Any:
        return stream

    def set_stream(self, stream: Any) -> None:
        self._machine.use_queue(stream.device_index, stream.stream_id)

    def synchronize(self, device: Any = None) -> None:
        self._machine.work.finish_device(streams.place(self._machine, device).index)

    def empty_cache(self) -> None:
        """Do nothing: freed memory is free at once."""

    def memory_allocated(self, device: Any = None) -> int:
        return self._machine.memories[streams.place(self._machine, device).index].allocated

    def max_memory_allocated(self, device: Any = None) -> int:
        return self._machine.memories[streams.place(self._machine, device).index].peak

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        memory = self._machine.memories[streams.place(self._machine, device).index]
        memory.peak = memory.allocated


def _replace_accelerator_functions(machine: Machine) -> None:
    """Put ours in the place of what torch.accelerator asks in C++, where Python has no hook."""

    def set_index(index: int) -> None:
        machine.current = index

    def exchange(index: int) -> int:
        before = machine.current
        if index >= 0:
            machine.current = index
        return before

    def statistics(index: int) -> dict[str, Any]:
        memory = machine.memories[index]
        return {"allocated_bytes": {"all": {"current": memory.allocated, "peak": memory.peak}}}

    def reset_peak(index: int) -> None:
        machine.memories[index].peak = machine.memories[index].allocated

    ours = {
        "_accelerator_getDeviceIndex": lambda: machine.current,
        "_accelerator_setDeviceIndex": set_index,
        "_accelerator_exchangeDevice": exchange,
        "_accelerator_maybeExchangeDevice": exchange,
        "_accelerator_getStream": streams.current_stream,
        "_accelerator_setStream": lambda stream: machine.use_queue(stream.device_index, stream.stream_id),
        "_accelerator_synchronizeDevice": machine.work.finish_device,
        "_accelerator_isAllocatorInitialized": lambda: True,
        "_accelerator_emptyCache": lambda: None,
        "_accelerator_getDeviceStats": statistics,
        "_accelerator_resetPeakStats": reset_peak,
    }
    for name, function in ours.items():
        setattr(torch._C, name, function)
    for name, kind in (("Stream", streams.Stream), ("Event", streams.Event)):
        setattr(torch, name, kind)


def _replace_factories(machine: Machine) -> None:
    """Let the factories make pinned tensors, and storages: torch asks for an allocator in C++, which Python has not."""
    torch.UntypedStorage.__new__ = staticmethod(_storage_maker(machine))  # type: ignore[method-assign]
    for name in ("empty", "empty_like", "empty_strided", "zeros", "zeros_like", "ones", "full"):
        setattr(torch, name, _pinning(machine, getattr(torch, name)))


def _pinning(machine: Machine, factory: Any) -> Any:
    @functools.wraps(factory)
    def make(*args: Any, pin_memory: bool = False, **kwargs: Any) -> Any:
        made = factory(*args, **kwargs)
        return copying.pinned_like(machine, made).copy_(made) if pin_memory else made

    return make


def _storage_maker(machine: Machine) -> Any:
    original = torch.UntypedStorage.__new__

    def make(kind: Any, *args: Any, device: Any = None, **kwargs: Any) -> Any:
        place = torch.device("cpu" if device is None else device)
        if place.type != KIND:
            return original(kind, *args, **kwargs, **({} if device is None else {"device": device}))
        size = args[0] if args else 0
        return machine.empty((size,), (1,), torch.uint8, place).untyped_storage()

    return make
