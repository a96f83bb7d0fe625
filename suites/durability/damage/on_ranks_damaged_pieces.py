"""Damage within the one piece of a large tensor that is asked for: readers take such pieces by ways of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.checkpoint import LoadPlan, Metadata, ReadItem
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import LoadItemType

from dcp_conformance.harness.faults import corruption
from dcp_conformance.harness.faults.corruption import Damage
from dcp_conformance.harness.states.by_hand import HandLoadPlanner
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import pattern
from dcp_conformance.harness.subject.session import Session

# A tensor of 2 MiB of arbitrary bits, of which so many rows of 8 KiB are read.
ROWS, COLUMNS, FIRST, COUNT = 256, 2048, 100, 3
PLACES = 8


def piece_of_damaged(session: Session) -> dict[str, Any]:
    """Reads of three rows while a bit in them, or somewhere in the object that holds most, is flipped."""
    tensor, checkpoint_id = pattern("bits", (ROWS, COLUMNS), torch.float32, version=1), session.new_id()
    session.save({"t": tensor}, checkpoint_id)
    blobs = session.stored_bytes(checkpoint_id)
    stored, wanted = corruption.contents(blobs), tensor[FIRST : FIRST + COUNT]
    rows = []
    for damage in _damages(stored, bytes(wanted.reshape(-1).view(torch.uint8).tolist())):
        target = torch.zeros(COUNT, COLUMNS)
        with corruption.inflicted(blobs, corruption.changes(damage, stored), stored):
            attempt = session.attempt(_read, session, checkpoint_id, target)
        wrong = differences({"t": wanted}, {"t": target}) if attempt.ok else []
        rows.append({"damage": damage.sentence(), "wrong": [item.sentence() for item in wrong]})
    sound = torch.zeros(COUNT, COLUMNS)
    _read(session, checkpoint_id, sound)
    return {"rows": rows, "sound": [item.sentence() for item in differences({"t": wanted}, {"t": sound})]}


def _damages(stored: corruption.Stored, wanted: bytes) -> list[Damage]:
    for name, data in stored.items():
        if (start := data.find(wanted)) >= 0:
            where = f"{COUNT} of {ROWS} rows, which are read"
            places = corruption.sampled(start, start + len(wanted), PLACES)
            return [Damage(kind="flip", name=name, position=at, bit=3, region=where) for at in places]
    name = max(stored, key=lambda each: len(stored[each]))
    places = corruption.sampled(0, len(stored[name]), PLACES)
    return [Damage(kind="flip", name=name, position=at, bit=3) for at in places]


def _read(session: Session, checkpoint_id: Any, target: torch.Tensor) -> None:
    reader = session.reader(checkpoint_id)
    metadata = reader.read_metadata()
    reader.set_up_storage_reader(metadata, True)
    plan = reader.prepare_global_plan([reader.prepare_local_plan(LoadPlan([_item(metadata)]))])[0]
    reader.read_data(plan, _Into(target)).wait()


def _item(metadata: Metadata) -> ReadItem:
    stored: Any = metadata.state_dict_metadata["t"]
    return ReadItem(
        type=LoadItemType.TENSOR, dest_index=MetadataIndex("t", torch.Size([FIRST, 0])),
        dest_offsets=torch.Size([0, 0]), storage_index=MetadataIndex("t", stored.chunks[0].offsets, 0),
        storage_offsets=torch.Size([FIRST, 0]), lengths=torch.Size([COUNT, COLUMNS]),
    )  # fmt: skip


class _Into(HandLoadPlanner):
    """Wants one tensor."""

    def __init__(self, target: torch.Tensor) -> None:
        self._target = target

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        return self._target

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None:
        """It is where it belongs already."""
