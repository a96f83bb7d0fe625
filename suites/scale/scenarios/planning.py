"""Planning with many items and many pieces, on storage that costs nothing."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.distributed.checkpoint import Metadata, SavePlan, SavePlanner, StorageWriter
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from harness.session import Session


class Nowhere(StorageWriter):
    """Stores nothing and reports that all is stored."""

    def reset(self, checkpoint_id: Any = None) -> None:
        """There is nothing to forget."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """There is nothing to set up."""

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        done: Future[list[WriteResult]] = Future()
        done.set_result([WriteResult(index=item.index, size_in_bytes=4, storage_data=None) for item in plan.items])
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """There is nothing to commit."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


def seconds_to_plan(session: Session, sizes: list[int]) -> list[float]:
    """Processor seconds that saving so many keys takes on this rank, for each size, after a first small save."""
    _save(session, {"first": torch.ones(1)})
    taken = []
    for size in sizes:
        state = {f"layer{number}.weight": torch.ones(1) for number in range(size)}
        taken.append(_save(session, state))
    return taken


def seconds_for_pieces(session: Session, pieces: int) -> float:
    """Seconds that saving one tensor of so many pieces takes, spread over the ranks."""
    from torch.distributed._shard import sharded_tensor

    own = range(session.rank, pieces, session.world_size)
    place = f"rank:{session.rank}/cpu"
    shards = [sharded_tensor.Shard(torch.ones(2), sharded_tensor.ShardMetadata([2 * at], [2], place)) for at in own]
    state = {"t": sharded_tensor.init_from_local_shards(shards, 2 * pieces)}
    began = time.monotonic()
    _save(session, state)
    return time.monotonic() - began


def _save(session: Session, state: dict[str, Any]) -> float:
    began = time.process_time()
    session.save(state, session.new_id(), writer=Nowhere())
    return time.process_time() - began
