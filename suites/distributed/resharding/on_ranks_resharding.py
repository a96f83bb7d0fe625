"""Save under one layout and world size, load under another."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_tensor

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.session import Session

# Uneven over 2 and 4 ranks, and with fewer rows than ranks: the last ranks hold empty shards.
SHAPES = {"even": (8, 12), "uneven": (7, 5), "few_rows": (3, 4)}


def save_sharded(session: Session, dim: int) -> None:
    """Save tensors sharded along `dim` over all ranks, a replicated tensor, and an object of each rank."""
    session.save(_state(session, dim, blank=False), session.new_id())


def load_whole(session: Session, ranks: int) -> list[Difference]:
    """Load into plain tensors in one process what `ranks` ranks saved."""
    wanted: dict[str, Any] = {name: coded(key, shape, version=1) for key, (name, shape) in enumerate(SHAPES.items())}
    wanted |= {"replicated": coded(9, (6,), version=1)} | {f"object{rank}": f"of rank {rank}" for rank in range(ranks)}
    wanted = session.suited(wanted)
    target = {
        key: torch.full_like(item, -1) if isinstance(item, torch.Tensor) else None for key, item in wanted.items()
    }
    session.load(target, session.new_id())
    return differences(wanted, target)


def load_sharded(session: Session, dim: int) -> list[Difference]:
    """Load into tensors sharded along `dim` over the ranks of this run."""
    target = _state(session, dim, blank=True)
    session.load(target, session.new_id())
    return differences(_state(session, dim, blank=False), target)


def _state(session: Session, dim: int, *, blank: bool) -> dict[str, Any]:
    mesh = init_device_mesh(session.device.partition(":")[0], (session.world_size,))
    state: dict[str, Any] = {}
    for key, (name, shape) in enumerate(SHAPES.items()):
        whole = coded(key, shape, version=1)
        state[name] = _distributed(whole, mesh, Shard(dim), blank=blank)
    state["replicated"] = _distributed(coded(9, (6,), version=1), mesh, Replicate(), blank=blank)
    state[f"object{session.rank}"] = None if blank else f"of rank {session.rank}"
    return session.suited(state)


def _distributed(whole: torch.Tensor, mesh: DeviceMesh, placement: Placement, *, blank: bool) -> DTensor:
    return distribute_tensor(torch.full_like(whole, -1) if blank else whole, mesh, [placement])
