"""Storage in wrappers that only watch, and the dummies of PyTorch's own tests, which do nothing at all."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.checkpoint import (
    LoadPlan,
    LoadPlanner,
    Metadata,
    StorageReader,
)
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, TensorStorageMetadata
from torch.futures import Future

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.by_hand import Nowhere
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session


def through_wrappers(session: Session, style: str) -> list[Difference]:
    """Report what differs after a save and a load through wrapped storage without a fault."""
    checkpoint_id, state = session.new_id(), {"t": coded(1, (33,), version=1), "u": coded(2, (3, 4), version=1)}
    session.save(state, checkpoint_id, style=style)
    target = blank(state)
    session.load(target, checkpoint_id, style=style)
    return differences(state, target)


def with_dummies(session: Session) -> tuple[Attempt, Attempt]:
    """Report how a save to a writer without results ended, and a load from a reader that reads nothing."""
    if "drop_in" not in session.engine.offers:
        session.excuse("the engine does not offer to be a drop-in")
    state: dict[str, Any] = {"t": torch.ones(5)}
    saved = session.attempt(session.save, state, session.new_id(), writer=Nowhere(silent=True))
    return saved, session.attempt(session.load, state, session.new_id(), reader=_DummyReader())


class _DummyReader(StorageReader):
    """Knows of a tensor of five ones and reads nothing."""

    def reset(self, checkpoint_id: Any = None) -> None:
        """There is nothing to forget."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, TensorProperties

        size = torch.Size([5])
        chunks = [ChunkStorageMetadata(offsets=torch.Size([0]), sizes=size)]
        known: dict[str, TensorStorageMetadata | BytesStorageMetadata] = {
            "t": TensorStorageMetadata(properties=TensorProperties(dtype=torch.float32), size=size, chunks=chunks)
        }
        return Metadata(state_dict_metadata=known)

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """There is nothing to set up."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True
