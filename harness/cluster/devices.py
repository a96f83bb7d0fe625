"""Which device a rank uses, and which process-group backend follows from it."""

from __future__ import annotations

import torch


def take_device(kind: str, rank: int, world_size: int) -> tuple[str, str]:
    """Select this rank's device; (device, process-group backend).

    With fewer devices than ranks several ranks share one, which NCCL refuses and gloo allows.

    Raises:
        RuntimeError: there is no such device here.
    """
    if kind == "cpu":
        return "cpu", "gloo"
    count = torch.cuda.device_count() if kind == "cuda" else 0
    if count == 0:
        raise RuntimeError(f"this machine has no {kind!r} device for ranks")
    index = rank % count
    torch.cuda.set_device(index)
    torch.zeros(1, device=f"cuda:{index}")  # the context and its threads belong to the baseline, not to a run
    return f"cuda:{index}", "cpu:gloo,cuda:nccl" if count >= world_size else "gloo"
