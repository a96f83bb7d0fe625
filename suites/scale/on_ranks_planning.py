"""Planning with many items and many pieces, on storage that costs nothing."""

from __future__ import annotations

import time
from typing import Any

import torch

from dcp_conformance.harness.states.by_hand import Nowhere
from dcp_conformance.harness.subject.session import Session


def seconds_to_plan(session: Session, sizes: list[int]) -> list[float]:
    """Processor seconds that saving so many keys takes on this rank, for each size, after a first small save."""
    _save(session, {"first": torch.ones(1)})
    taken = []
    for size in sizes:
        state = {f"layer{number}.weight": torch.ones(1) for number in range(size)}
        taken.append(_save(session, state))
    return taken


def seconds_for_pieces(session: Session, sizes: list[int]) -> list[float]:
    """Processor seconds that saving one tensor of so many pieces, spread over the ranks, takes on this rank."""
    _save(session, {"first": _pieces(session, session.world_size)})
    return [_save(session, {"t": _pieces(session, size)}) for size in sizes]


def _pieces(session: Session, count: int) -> Any:
    from torch.distributed._shard import sharded_tensor

    own = range(session.rank, count, session.world_size)
    place = f"rank:{session.rank}/cpu"
    shards = [sharded_tensor.Shard(torch.ones(2), sharded_tensor.ShardMetadata([2 * at], [2], place)) for at in own]
    return sharded_tensor.init_from_local_shards(shards, 2 * count)


def _save(session: Session, state: dict[str, Any]) -> float:
    began = time.process_time()
    session.save(state, session.new_id(), writer=Nowhere())
    return time.process_time() - began
