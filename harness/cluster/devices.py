"""Which device a rank uses, and which process-group backend follows from it.

Only ranks ask: a fork server that touches a device can fork no rank that may use it.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from dcp_conformance.harness.devices import SIMULATED, simulation


def take_device(kind: str, rank: int, world_size: int) -> tuple[str, str]:
    """Select this rank's device; (device, process-group backend).

    With fewer devices than ranks several ranks share one, which NCCL refuses and gloo allows.

    Raises:
        RuntimeError: there is no such device here.
    """
    if kind == "cpu":
        return "cpu", "gloo"
    if kind == SIMULATED:
        simulation.start()
    count = device_count(kind)
    if count == 0:
        raise RuntimeError(f"this machine has no {kind!r} device for ranks")
    index = rank % count
    torch.accelerator.set_device_index(index)
    torch.zeros(1, device=f"{kind}:{index}")  # the context and its threads belong to the baseline, not to a run
    return f"{kind}:{index}", group_backend(kind, count=count, world_size=world_size)


def device_count(kind: str) -> int:
    """Return how many devices of a kind torch can use in this process, or could once it has started simulated ones."""
    if kind == SIMULATED:
        return simulation.COUNT if simulation.available() else 0
    found = torch.accelerator.current_accelerator()
    return torch.accelerator.device_count() if found is not None and found.type == kind else 0


def group_backend(kind: str, *, count: int, world_size: int) -> str:
    """Return the process group's backend for `count` devices: with the device's own collectives, or gloo alone."""
    own = None if kind in ("cpu", SIMULATED) else dist.Backend.default_device_backend_map.get(kind)
    # gloo stays for tensors on the CPU, which NCCL does not take: the numbered barrier gathers such.
    return f"cpu:gloo,{kind}:{own}" if own not in (None, "gloo") and count >= world_size else "gloo"
