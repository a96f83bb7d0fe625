"""The control pair: a small file-per-item storage, against which a failure is blamed on the engine or the backend.

It is an ordinary plain module (``--backend=harness.control``) and lets an engine see nothing but the storage interface.
A checkpoint is a folder: ``data/<save id>/<rank>-<n>`` holds one item each, ``commit`` or ``commit-<rank>`` (rank-local
metadata) is the pickled Metadata and appears last, by one atomic rename. Every object
is synced to disk and starts with the SHA-256 of its name and the rest, so damaged and exchanged objects are noticed.
What a save replaced is removed once it has committed. Metadata is unpickled with an allow-list of classes.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import os
import pickle
import shutil
import uuid
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import (
    LoadPlan,
    LoadPlanner,
    Metadata,
    SavePlan,
    SavePlanner,
    StorageReader,
    StorageWriter,
    WriteItem,
)
from torch.distributed.checkpoint.metadata import MetadataIndex, StorageMeta
from torch.distributed.checkpoint.planner import LoadItemType, ReadItem, WriteItemType
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from dcp_conformance.harness.control.objects import read_object, save_id_of, unpickled, write_object

__all__ = ["OFFERS", "UNSUPPORTED", "Reader", "Writer"]

UNSUPPORTED = {
    "torch_format": "one file for each item, so that it shares no code with the format of torch",
    "extensions": "the control stores plain bytes only",
}
OFFERS: list[str] = []

_logger = logging.getLogger(__name__)


class Writer(StorageWriter):
    """Writes each item to a file of its own below ``checkpoint_id``, and commits with one rename."""

    def __init__(self, checkpoint_id: str | os.PathLike[str]) -> None:
        self._root = _absolute(checkpoint_id)
        self._save_id = uuid.uuid4().hex
        self._rank: int | None = None
        self._alone = False

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        if checkpoint_id:
            self._root = _absolute(checkpoint_id)
        self._save_id = uuid.uuid4().hex

    def storage_meta(self) -> StorageMeta:
        return StorageMeta(checkpoint_id=str(self._root), save_id=self._save_id)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self._rank = kwargs.get("rank")
        self._alone = not kwargs.get("use_collectives", True)
        if self._root.exists() and not self._root.is_dir():
            raise NotADirectoryError(f"checkpoint id {self._root} names a file; it must be a folder or a free name")
        if is_coordinator and (self._root / _commit_name(self._rank if self._alone else None)).exists():
            _logger.warning("%s holds a checkpoint, which this save replaces", self._root)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        # Every rank writes below the coordinator's save id, each under its place in the plan (with rank-local
        # metadata there is one plan, and the place is the rank).
        places = [self._rank or 0] if self._alone else range(len(plans))
        folder = f"data/{self._save_id}"
        return [
            dataclasses.replace(plan, storage_data=f"{folder}/{place}")
            for place, plan in zip(places, plans, strict=True)
        ]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        results = []
        for number, item in enumerate(plan.items):
            name = f"{plan.storage_data}-{number}"
            size = write_object(self._root, name, _item_bytes(item, planner))
            results.append(WriteResult(index=item.index, size_in_bytes=size, storage_data=name))
        done: Future[list[WriteResult]] = Future()
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        metadata.storage_data = {result.index: result.storage_data for rank in results for result in rank}
        metadata.storage_meta = self.storage_meta()
        content = pickle.dumps(metadata)
        unpickled(content)  # what could not be read back is refused while the old checkpoint is still whole
        commit = _commit_name(self._rank if self._alone else None)
        replaced = [save_id_of(self._root, name) for name in self._replaces(commit)]
        write_object(self._root, commit, content)
        for name in self._replaces(commit):
            if name != commit:
                (self._root / name).unlink(missing_ok=True)
        for save_id in set(replaced) - {None, self._save_id}:
            shutil.rmtree(self._root / "data" / str(save_id), ignore_errors=True)
        # The next save is another one, whether or not an engine resets the writer before it.
        self._save_id = uuid.uuid4().hex

    def _replaces(self, commit: str) -> list[str]:
        """Commits that this one takes the place of: its own, and those made in the other mode of saving."""
        others = ["commit"] if self._alone else [path.name for path in self._root.glob("commit-*")]
        return [commit, *(name for name in others if name != commit)]

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return _is_usable(checkpoint_id)


class Reader(StorageReader):
    """Reads what Writer wrote; every object is checked against its digest before it is used."""

    def __init__(self, checkpoint_id: str | os.PathLike[str]) -> None:
        self._root = _absolute(checkpoint_id)
        self._names: dict[MetadataIndex, str] = {}
        self._load_id = uuid.uuid4().hex

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        if checkpoint_id:
            self._root = _absolute(checkpoint_id)
        self._names = {}
        self._load_id = uuid.uuid4().hex

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        metadata = unpickled(read_object(self._root, _commit_name(kwargs.get("rank"))))
        if metadata.storage_meta is not None:
            metadata.storage_meta.load_id = self._load_id
        return metadata

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self._names = metadata.storage_data

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        by_name: dict[str, list[ReadItem]] = {}
        for request in plan.items:
            by_name.setdefault(self._names[request.storage_index], []).append(request)
        for name, requests in by_name.items():
            _deliver(read_object(self._root, name), requests, planner)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return _is_usable(checkpoint_id)


def _item_bytes(item: WriteItem, planner: SavePlanner) -> bytes:
    data = planner.resolve_data(item)
    if item.type is WriteItemType.BYTE_IO:
        assert isinstance(data, io.BytesIO)
        return data.getvalue()
    assert isinstance(data, torch.Tensor)
    # clone: only the values of a view are stored, not the storage that it looks into.
    values = data.detach().resolve_conj().resolve_neg().cpu().clone(memory_format=torch.contiguous_format)
    if type(values) is not torch.Tensor:
        values = values.as_subclass(torch.Tensor)  # a class of the user's own could not be read back safely
    stream = io.BytesIO()
    torch.save(values, stream)
    return stream.getvalue()


def _deliver(content: bytes, requests: list[ReadItem], planner: LoadPlanner) -> None:
    if requests[0].type is LoadItemType.BYTE_IO:
        for request in requests:
            planner.load_bytes(request, io.BytesIO(content))
        return
    stored: torch.Tensor = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    for request in requests:
        _fill(request, stored, planner)


def _fill(request: ReadItem, stored: torch.Tensor, planner: LoadPlanner) -> None:
    for dimension, (offset, length) in enumerate(zip(request.storage_offsets, request.lengths, strict=True)):
        stored = stored.narrow(dimension, offset, length)
    target = planner.resolve_tensor(request).detach()
    if target.size() != stored.size():
        raise ValueError(f"{request.dest_index.fqn}: stored size {stored.size()}, wanted {target.size()}")
    target.copy_(stored)
    planner.commit_tensor(request, target)


def _commit_name(rank: int | None) -> str:
    return "commit" if rank is None else f"commit-{rank}"


def _absolute(checkpoint_id: str | os.PathLike[str]) -> Path:
    # A relative id means the place that it named at this moment.
    return Path(Path.cwd(), checkpoint_id)


def _is_usable(checkpoint_id: str | os.PathLike[str]) -> bool:
    text = os.fspath(checkpoint_id)
    return isinstance(text, str) and bool(text.strip()) and "://" not in text and "\0" not in text
