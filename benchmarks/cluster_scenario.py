"""The scenario that benchmarks/cluster.py times. It imports what a test of a suite imports, no more."""

from __future__ import annotations

import os
import signal

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from dcp_conformance.harness.cluster.rank import current, emit

WORLD_SIZE = 2


def save_and_reshard(folder: str) -> float:
    """Save a tensor sharded by rows, load it sharded by columns, and return the sum of what was loaded."""
    mesh = init_device_mesh("cpu", (WORLD_SIZE,))
    saved = distribute_tensor(torch.arange(4096.0).reshape(64, 64), mesh, [Shard(0)])
    dcp.save({"weight": saved}, checkpoint_id=folder)
    loaded = distribute_tensor(torch.zeros(64, 64), mesh, [Shard(1)])
    dcp.load({"weight": loaded}, checkpoint_id=folder)
    total = float(loaded.full_tensor().sum().item())
    if total != 4096 * 4095 / 2:
        raise AssertionError(f"loaded {total}")
    return total


def kill_last_rank() -> None:
    """The last rank is killed, after telling so; the others return."""
    if current().rank == WORLD_SIZE - 1:
        emit("kill")
        os.kill(os.getpid(), signal.SIGKILL)
