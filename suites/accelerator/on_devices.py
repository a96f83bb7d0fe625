"""What scenarios on devices share: devices of this rank's kind, work that keeps one busy, pinned bytes."""

from __future__ import annotations

import gc
import time
from typing import Any

import torch

from dcp_conformance.harness.cluster import rank as on_rank
from dcp_conformance.harness.devices import SIMULATED, simulation
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.accelerator.seen import Seen

#: Seconds for which a queue is kept busy: longer than a save takes to read its first tensor.
BUSY = 0.2


def kind(session: Session) -> str:
    """Return the kind of device that this run is about."""
    return torch.device(session.device).type


def devices(session: Session, count: int) -> list[torch.device]:
    """Return the first `count` devices of the machine; the scenario ends where there are fewer."""
    there = torch.accelerator.device_count()
    if there < count:
        session.give_up(f"it needs {count} devices, and there is {there}")
    return [torch.device(kind(session), index) for index in range(count)]


def state(session: Session, *, version: int = 1) -> dict[str, torch.Tensor]:
    """Values on the CPU, of several shapes and dtypes, of this rank alone."""
    first = 10 * session.rank
    shapes = {"table": (37, 5), "line": (1000,), "scalar": (), "empty": (0, 3)}
    made = {
        f"{name} of {session.rank}": coded(first + place, shape, version=version)
        for place, (name, shape) in enumerate(shapes.items())
    }
    line = made[f"line of {session.rank}"]
    return {**made, f"half of {session.rank}": line.to(torch.bfloat16), f"whole of {session.rank}": line.long()}


def blank_on(values: dict[str, torch.Tensor], device: Any) -> dict[str, torch.Tensor]:
    """Targets like `values` on a device, that hold what no value is, and hold it already."""
    made = {key: torch.full_like(value, -7, device=device) for key, value in values.items()}
    wait()
    return made


def moved(values: dict[str, torch.Tensor], device: Any) -> dict[str, torch.Tensor]:
    """`values` on a device, in memory of their own; nothing is queued any more."""
    made = {key: value.to(device, copy=True) for key, value in values.items()}
    wait()
    return made


def wait() -> None:
    """Wait for all devices of this rank."""
    for index in range(torch.accelerator.device_count()):
        torch.accelerator.synchronize(index)


def keep_busy(device: Any) -> None:
    """Queue work that takes a real device some BUSY seconds; a simulated one runs nothing before it must anyway."""
    if torch.device(device).type == SIMULATED:
        return
    square = torch.ones(2048, 2048, device=device)
    torch.accelerator.synchronize(device)
    began = time.monotonic()
    square @ square  # noqa: B018  its time is what is wanted
    torch.accelerator.synchronize(device)
    for _ in range(min(20_000, int(BUSY / max(1e-5, time.monotonic() - began)) + 1)):
        square @ square  # noqa: B018


def queue_values(target: dict[str, torch.Tensor], source: dict[str, torch.Tensor], device: Any) -> None:
    """Queue, behind work that takes a while, that `target` gets the values of `source`; both lie on `device`."""
    keep_busy(device)
    for key, value in source.items():
        target[key].copy_(value)


def misplaced(target: dict[str, torch.Tensor], wanted: dict[str, torch.device]) -> tuple[str, ...]:
    """Sentences about tensors that are not on their devices."""
    return tuple(
        f"{key!r} is on {target[key].device} instead of {device}"
        for key, device in wanted.items()
        if target[key].device != device
    )


def seen(session: Session, found: list[Difference], places: tuple[str, ...] = ()) -> Seen:
    """Return the rank's observation, with its topology."""
    return Seen(
        device=session.device, group=on_rank.current().backend, found=tuple(found), places=places
    )  # fmt: skip


def pinned_bytes(session: Session) -> int:
    """Return the bytes of pinned memory in use; the scenario ends where nobody can be asked."""
    gc.collect()
    machine = simulation.running()
    if machine is not None:
        return machine.pinned.allocated
    module = torch.get_device_module(kind(session))
    held: dict[str, int] = module.host_memory_stats() if hasattr(module, "host_memory_stats") else {}
    if "active_bytes.current" not in held:
        session.give_up(f"torch does not tell how much memory is pinned for {kind(session)}")
    return held["active_bytes.current"]
