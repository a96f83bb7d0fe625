"""What the tests of simulated devices do on a rank. Every function returns plain data."""

from __future__ import annotations

import ctypes
import gc
import io
import sys
import threading
from dataclasses import dataclass

import torch

from dcp_conformance.harness.devices import simulation

DTYPES = (
    torch.bool, torch.uint8, torch.int16, torch.int64, torch.uint16, torch.float16, torch.bfloat16, torch.float32,
    torch.float64, torch.complex64, torch.float8_e4m3fn,
)  # fmt: skip


def has_started(module: str) -> tuple[bool, bool]:
    """Whether this process has simulated devices, and whether it has imported `module`."""
    return simulation.running() is not None, module in sys.modules


def read_as_cpu_memory() -> None:
    """Read a device tensor's memory by its address, as code does that forgot where the tensor is."""
    ctypes.string_at(torch.ones(4, device="sim").data_ptr(), 4)


def bits_after_a_round_trip() -> list[str]:
    """The dtypes whose bits are not the same after a copy to a device and back."""
    wrong = []
    for dtype in DTYPES:
        values = torch.arange(24, dtype=torch.float32).reshape(4, 6).to(dtype)
        there = [values.to("sim:1"), torch.empty_like(values, device="sim:1").copy_(values), values.t().to("sim:1").t()]
        back = [item.cpu().contiguous().view(torch.uint8) for item in there]
        if not all(torch.equal(item, values.view(torch.uint8)) for item in back):
            wrong.append(str(dtype))
    return wrong


@dataclass(frozen=True, kw_only=True)
class Race:
    """What the CPU saw of a tensor that work on a stream makes 3."""

    unordered: float
    """A blocking copy on another stream, with nothing that orders the two."""
    waited_for: float
    """The same copy once the current stream waits for that stream."""
    ready_before: bool
    """Whether the stream's event was done before anybody waited for it."""


def race_of_two_streams() -> Race:
    """Write on a side stream, read on the current one, without an order and with one."""
    tensor, side = torch.zeros(4, device="sim:1"), torch.Stream("sim:1")
    torch.accelerator.synchronize("sim:1")
    with side:
        tensor.fill_(3)
    event = side.record_event()
    ready = event.query()
    unordered = float(tensor.cpu()[0])
    torch.accelerator.current_stream(torch.device("sim:1")).wait_event(event)
    return Race(unordered=unordered, waited_for=float(tensor.cpu()[0]), ready_before=ready)


def latest_first() -> list[float]:
    """Two streams write one tensor; what it holds once the whole device was waited for."""
    tensor, first, second = torch.zeros(1, device="sim"), torch.Stream("sim"), torch.Stream("sim")
    torch.accelerator.synchronize()
    for stream, value in ((first, 1.0), (second, 2.0)):
        with stream:
            tensor.fill_(value)
    torch.accelerator.synchronize()
    return [float(tensor.cpu())]


@dataclass(frozen=True, kw_only=True)
class PinnedCopies:
    """How copies with non_blocking=True came out."""

    before: float
    """A pinned target before anybody waited."""
    after: float
    """The same target once somebody had."""
    pageable: float
    """A target that is not pinned, before anybody waited: such copies wait by themselves."""
    late_source: float
    """What reached the device from a pinned source that was changed while the copy was queued."""
    pinned: tuple[int, int]
    """Bytes pinned while the tensors lived, and after."""


def copy_through_pinned_memory() -> PinnedCopies:
    """Copy from and to a device without waiting, with pinned and pageable memory on the CPU's side."""
    machine = simulation.start()
    source, pinned, pageable = torch.full((4,), 7.0, device="sim"), torch.zeros(4, pin_memory=True), torch.zeros(4)
    pinned.copy_(source, non_blocking=True)
    before = float(pinned[0])
    pageable.copy_(source, non_blocking=True)
    seen = float(pageable[0])
    torch.accelerator.synchronize()
    after = float(pinned[0])
    there = torch.zeros(4, device="sim").copy_(pinned, non_blocking=True)
    pinned.fill_(-1)
    late, held = float(there.cpu()[0]), machine.pinned.allocated
    del pinned, there
    gc.collect()
    return PinnedCopies(
        before=before, after=after, pageable=seen, late_source=late, pinned=(held, machine.pinned.allocated)
    )


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Which device was current, by its index."""

    chosen: int
    made_on: int
    """Of a tensor made with `device="sim"`."""
    in_a_thread: int
    after_a_block: int


def choose_devices() -> Choices:
    """Choose device 2, look from a new thread, work on another one and come back."""
    torch.accelerator.set_device_index(2)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.accelerator.current_device_index()))
    thread.start()
    thread.join()
    made = torch.empty(1, device="sim").device.index
    with torch.accelerator.device_index(3):
        torch.empty(1, device="sim")
    found = Choices(chosen=2, made_on=made, in_a_thread=seen[0], after_a_block=torch.accelerator.current_device_index())
    torch.accelerator.set_device_index(0)
    return found


def memory_in_use() -> tuple[int, int, int]:
    """Bytes of device 3: while a tensor of 1 MiB lives, once it is gone, and at most."""
    torch.accelerator.reset_peak_memory_stats(3)
    tensor = torch.zeros(1 << 18, device="sim:3")
    torch.accelerator.synchronize("sim:3")
    held = torch.accelerator.memory_allocated(3)
    del tensor
    return held, torch.accelerator.memory_allocated(3), torch.accelerator.max_memory_allocated(3)


def save_and_load_a_file() -> list[str]:
    """Write device tensors with torch.save; the devices on which torch.load puts them, with and without a map."""
    file = io.BytesIO()
    torch.save({"t": torch.arange(3, device="sim:2")}, file)
    devices = []
    for place in (None, "cpu", "sim:1"):
        file.seek(0)
        loaded = torch.load(file, map_location=place)["t"]
        devices.append(f"{loaded.device} {loaded.tolist()}")
    return devices


def mix_devices() -> list[str]:
    """The errors of operators on tensors of two devices, and of a device and the CPU."""
    told = []
    for other in (torch.ones(2, device="sim:1"), torch.ones(2)):
        try:
            torch.ones(2, device="sim:0") + other
        except RuntimeError as error:
            told.append(str(error))
    return told


def train_a_step() -> list[str]:
    """A step of AdamW on device 1; where the optimizer's state lies."""
    layer = torch.nn.Linear(3, 2, device="sim:1")
    optimizer = torch.optim.AdamW(layer.parameters())
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = layer.weight.detach().cpu()
    optimizer.step()
    moved = not torch.equal(before, layer.weight.detach().cpu())
    state = [item for parts in optimizer.state.values() for name, item in parts.items() if name != "step"]
    return [f"moved {moved}", *sorted({str(item.device) for item in state})]
