"""One rank that plans a piece twice, or two pieces that overlap: by the hooks of a value, and by its planner."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session

LENGTH = 8
# (first element, number of elements, version of the values) of each piece that rank 0 plans.
Piece = tuple[int, int, int]
PLANNED: dict[str, tuple[Piece, ...]] = {
    "whole": ((0, 8, 1), (0, 8, 1)),
    "piece": ((0, 4, 1), (4, 4, 1), (4, 4, 1)),
    "other_values": ((0, 4, 1), (4, 4, 1), (4, 4, 2)),
    "overlap": ((0, 5, 1), (3, 5, 1)),
    "inside": ((2, 3, 1), (0, 8, 1)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Repeated:
    """How the save ended, how a load of the id did, and how what it gave differs from what was saved."""

    save: Attempt
    load: Attempt
    found: list[Difference]


class InPieces(torch.Tensor):
    """A tensor of one dimension that plans whatever pieces it is told to, through the checkpointable hooks."""

    pieces: tuple[Piece, ...]
    wholes: dict[int, torch.Tensor]

    @staticmethod
    def of(pieces: tuple[Piece, ...], wholes: dict[int, torch.Tensor]) -> InPieces:
        """Return the tensor with these pieces, each cut from the whole of its version."""
        found = torch.Tensor._make_subclass(InPieces, wholes[1])
        found.pieces, found.wholes = pieces, wholes
        return found

    def __create_write_items__(self, fqn: str, object: Any) -> list[WriteItem]:
        whole, properties = self.size(), TensorProperties(dtype=self.dtype)
        return [
            WriteItem(
                index=MetadataIndex(fqn, chunk.offsets, number), type=WriteItemType.SHARD,
                tensor_data=TensorWriteData(chunk=chunk, properties=properties, size=whole),
            )
            for number, chunk in enumerate(self.__create_chunk_list__())
        ]  # fmt: skip

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        return [ChunkStorageMetadata(torch.Size([start]), torch.Size([size])) for start, size, _ in self.pieces]

    def __get_tensor_shard__(self, index: MetadataIndex) -> torch.Tensor:
        assert index.offset is not None
        fitting = [piece for piece in self.pieces if piece[0] == index.offset[0]]
        # Of two pieces at one place, the first hint means the first; a global plan may have given them other ones.
        start, size, version = fitting[-1 if index.index else 0]
        return self.wholes[version][start : start + size].clone()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def repeated_by_value(session: Session, what: str) -> Repeated:
    """Rank 0 saves a value that plans its pieces so; every rank saves something sound beside it."""
    wholes = {version: coded(0, (LENGTH,), version=version).to(session.device) for version in (1, 2)}
    value: dict[str, Any] = {"x": InPieces.of(PLANNED[what], wholes)} if session.rank == 0 else {}
    lawful = [wholes[1]]
    if what == "other_values":  # nothing says which of the two is meant: either is kept, whole
        lawful.append(torch.cat([wholes[1][:4], wholes[2][4:]]))
    return _saved(session, {**value, **_sound(session)}, [{"x": whole} for whole in lawful])


def repeated_by_planner(session: Session, what: str) -> Repeated:
    """Every rank's planner plans twice all `what` (tensors or objects) that the rank holds."""
    if what == "objects":
        session.needs("objects")
    if not session.takes("save", "planner"):
        session.excuse("save takes no planner")
    exported = any("DefaultSavePlanner" in part.utilities for part in (session.storage, session.engine))
    if session.function_owner("save") == "backend" and not exported:
        session.excuse("it exports no planner class that could be made to plan a piece twice")
    return _saved(session, _sound(session), [{}], planner=_twice(session.tool("DefaultSavePlanner"), what)())


def _twice(kind: Any, what: str) -> Any:
    class Twice(kind):  # type: ignore[misc]
        def create_local_plan(self) -> Any:
            plan = super().create_local_plan()
            again = [item for item in plan.items if (item.type is WriteItemType.BYTE_IO) == (what == "objects")]
            self.plan = dataclasses.replace(plan, items=[*plan.items, *again])
            return self.plan

    return Twice


def _sound(session: Session) -> dict[str, Any]:
    state: dict[str, Any] = {f"own{session.rank}": coded(1 + session.rank, (4,), version=1).to(session.device)}
    if "objects" not in session.storage.unsupported:
        state[f"text{session.rank}"] = f"of rank {session.rank}"
    return state


def _saved(session: Session, state: dict[str, Any], lawful: list[dict[str, Any]], **arguments: Any) -> Repeated:
    checkpoint_id, sound = session.new_id(), _sound(session)
    save = session.attempt(session.save, state, checkpoint_id, **arguments)
    target = blank({**lawful[0], **sound})
    load = session.attempt(session.load, target, checkpoint_id)
    unlike = [differences({**values, **sound}, target) for values in lawful] if load.ok else [[]]
    return Repeated(save=save, load=load, found=min(unlike, key=len))
