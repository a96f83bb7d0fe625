"""What several variants share: a pair over any store of named objects, which is told which object commits the rest.

Objects are `<save id>/<place>-<n>` for data and `commit` or `commit-<rank>` for metadata. Each begins with the SHA-256
of its name and content. What a commit replaces is removed after it, or with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import logging
import os
import pickle
import re
import shutil
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.distributed.checkpoint import Metadata, StorageReader, StorageWriter
from torch.distributed.checkpoint.metadata import StorageMeta
from torch.distributed.checkpoint.planner import LoadItemType, WriteItemType
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import unpickled

UNSUPPORTED = control.UNSUPPORTED

_DIGEST = hashlib.sha256().digest_size
_DATA = re.compile(r"[0-9a-f]{32}/\d+-\d+")
_logger = logging.getLogger(__name__)


class Store(Protocol):
    """Named objects at one place."""

    def put(self, name: str, content: bytes) -> None:
        """Keep an object; it need not survive anything before the commit that follows it."""

    def get(self, name: str) -> bytes:
        """An object; FileNotFoundError when there is none."""

    def commit(self, name: str, content: bytes, *, drop: Collection[str]) -> None:
        """Make an object appear whole, with all that was put before it, and remove others."""

    def names(self) -> list[str]:
        """The commits that are there."""


class FolderStore:
    """Each object a file of its own, synced to disk before it gets its name."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, content: bytes) -> None:
        write_file(self.root / name, content)

    def get(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def commit(self, name: str, content: bytes, *, drop: Collection[str]) -> None:
        write_file(self.root / name, content)
        for old in drop:
            (self.root / old).unlink(missing_ok=True)
        for folder in {(self.root / old).parent for old in drop} - {self.root}:
            if not any(folder.glob("*-*")):
                shutil.rmtree(folder, ignore_errors=True)

    def names(self) -> list[str]:
        return [path.name for path in self.root.glob("commit*") if "." not in path.name]


def write_file(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, also after a power cut."""
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to and sync; at the end it takes the place of `path`, or it is removed if that failed."""
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    synced(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents so that they survive a power cut."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        synced(made.parent)


def synced(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Writer(StorageWriter):
    """Puts each item as an object of its own, and commits with the metadata."""

    def __init__(self, checkpoint_id: str | os.PathLike[str]) -> None:
        self.root = _absolute(checkpoint_id)
        self.save_id = uuid.uuid4().hex
        self.rank: int | None = None
        self.alone = False

    def store(self) -> Store:
        """The store at the id of this writer."""
        return FolderStore(self.root)

    def encode(self, metadata: Metadata) -> bytes:
        """Metadata as it is stored."""
        return pickle.dumps(metadata)

    def decode(self, content: bytes) -> Metadata:
        """Metadata as it was before `encode`."""
        return unpickled(content)

    def pack(self, content: bytes) -> bytes:
        """The content of a data object as it is stored."""
        return content

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        if checkpoint_id:
            self.root = _absolute(checkpoint_id)
        self.save_id = uuid.uuid4().hex

    def storage_meta(self) -> StorageMeta:
        return StorageMeta(checkpoint_id=str(self.root), save_id=self.save_id)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self.rank, self.alone = kwargs.get("rank"), not kwargs.get("use_collectives", True)
        if self.root.exists() and not self.root.is_dir():
            raise NotADirectoryError(f"checkpoint id {self.root} names a file; it must be a folder or a free name")
        if is_coordinator and self.root.exists() and self.commit_name() in self.store().names():
            _logger.warning("%s holds a checkpoint, which this save replaces", self.root)

    def commit_name(self) -> str:
        """The object that commits what this writer writes."""
        return f"commit-{self.rank}" if self.alone and self.rank is not None else "commit"

    def prepare_local_plan(self, plan: Any) -> Any:
        return plan

    def prepare_global_plan(self, plans: list[Any]) -> list[Any]:
        places = [self.rank or 0] if self.alone else range(len(plans))
        return [
            dataclasses.replace(plan, storage_data=f"{self.save_id}/{place}")
            for place, plan in zip(places, plans, strict=True)
        ]

    def write_data(self, plan: Any, planner: Any) -> Future[list[WriteResult]]:
        return completed(self.written(plan, planner))

    def written(self, plan: Any, planner: Any) -> list[WriteResult]:
        """Put all items of a plan."""
        store, results = self.store(), []
        for number, item in enumerate(plan.items):
            name, content = f"{plan.storage_data}-{number}", self.pack(_item_bytes(item, planner))
            store.put(name, _signed(name, content))
            results.append(WriteResult(index=item.index, size_in_bytes=len(content), storage_data=name))
        return results

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        metadata.storage_data = {result.index: result.storage_data for rank in results for result in rank}
        metadata.storage_meta = self.storage_meta()
        content, commit, store = self.encode(metadata), self.commit_name(), self.store()
        self.decode(content)  # what could not be read back is refused while the old checkpoint is whole
        # Saving in the other mode replaces the commits of this one.
        others = [name for name in store.names() if (name == "commit") == self.alone or name == commit]
        replaced = {name for other in others for name in self._objects_of(store, other)}
        drop = (replaced - self.objects(metadata)) | (set(others) - {commit})
        store.commit(commit, _signed(commit, content), drop=sorted(drop))
        self.save_id = uuid.uuid4().hex

    def objects(self, metadata: Metadata) -> set[str]:
        """The data objects that a checkpoint refers to."""
        return {name for name in metadata.storage_data.values() if is_data(name)}

    def _objects_of(self, store: Store, commit: str) -> set[str]:
        try:
            return self.objects(self.decode(_checked(commit, store.get(commit))))
        except (OSError, ValueError, pickle.UnpicklingError):
            return set()  # damaged: what it referred to cannot be told and stays

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return usable(checkpoint_id)


class Reader(StorageReader):
    """Gets what Writer put; every object is checked before it is used."""

    def __init__(self, checkpoint_id: str | os.PathLike[str]) -> None:
        self.root = _absolute(checkpoint_id)
        self.metadata: Metadata | None = None
        self.load_id = uuid.uuid4().hex

    def store(self) -> Store:
        """The store at the id of this reader."""
        return FolderStore(self.root)

    def decode(self, content: bytes) -> Metadata:
        """Metadata from what is stored."""
        return unpickled(content)

    def unpack(self, content: bytes) -> bytes:
        """The content of a data object from what is stored."""
        return content

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        if checkpoint_id:
            self.root = _absolute(checkpoint_id)
        self.metadata, self.load_id = None, uuid.uuid4().hex

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        rank = kwargs.get("rank")
        commit = "commit" if rank is None else f"commit-{int(rank)}"
        metadata = self.decode(_checked(commit, self.store().get(commit)))
        if metadata.storage_meta is not None:
            metadata.storage_meta.load_id = self.load_id
        return metadata

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self.metadata = metadata

    def prepare_local_plan(self, plan: Any) -> Any:
        return plan

    def prepare_global_plan(self, plans: list[Any]) -> list[Any]:
        return plans

    def read_data(self, plan: Any, planner: Any) -> Future[None]:
        self.delivered(plan, planner)
        return completed(None)

    def delivered(self, plan: Any, planner: Any) -> None:
        """Read all items of a plan and hand them to the planner."""
        assert self.metadata is not None, "set_up_storage_reader was not called"
        store, by_name = self.store(), {}  # type: tuple[Store, dict[str, list[Any]]]
        for request in plan.items:
            by_name.setdefault(self.metadata.storage_data[request.storage_index], []).append(request)
        for name, requests in by_name.items():
            if not is_data(name):
                raise ValueError(f"{name!r} is not the name of an object of a checkpoint")
            _deliver(self.unpack(_checked(name, store.get(name))), requests, planner)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return usable(checkpoint_id)


def is_data(name: object) -> bool:
    """Whether a name that was read is that of a data object, and leads nowhere else."""
    return isinstance(name, str) and _DATA.fullmatch(name) is not None


def completed(value: Any) -> Future[Any]:
    """A future that has its value already."""
    done: Future[Any] = Future()
    done.set_result(value)
    return done


def usable(checkpoint_id: str | os.PathLike[str]) -> bool:
    """Whether an id can be a local path."""
    text = os.fspath(checkpoint_id)
    return isinstance(text, str) and bool(text.strip()) and "://" not in text and "\0" not in text


def dense(data: torch.Tensor) -> torch.Tensor:
    """The values of a tensor in memory of their own, as a plain contiguous tensor on the CPU."""
    values = data.detach().resolve_conj().resolve_neg().cpu().clone(memory_format=torch.contiguous_format)
    return values if type(values) is torch.Tensor else values.as_subclass(torch.Tensor)


def fill(request: Any, stored: torch.Tensor, planner: Any) -> None:
    """Copy the part of a stored tensor that a request wants into its target."""
    for dimension, (offset, length) in enumerate(zip(request.storage_offsets, request.lengths, strict=True)):
        stored = stored.narrow(dimension, offset, length)
    target = planner.resolve_tensor(request).detach()
    if target.size() != stored.size():
        raise ValueError(f"{request.dest_index.fqn}: stored size {stored.size()}, wanted {target.size()}")
    target.copy_(stored)
    planner.commit_tensor(request, target)


def _item_bytes(item: Any, planner: Any) -> bytes:
    data = planner.resolve_data(item)
    if item.type is WriteItemType.BYTE_IO:
        return bytes(data.getvalue())
    stream = io.BytesIO()
    torch.save(dense(data), stream)
    return stream.getvalue()


def _deliver(content: bytes, requests: list[Any], planner: Any) -> None:
    if requests[0].type is LoadItemType.BYTE_IO:
        for request in requests:
            planner.load_bytes(request, io.BytesIO(content))
        return
    stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    for request in requests:
        fill(request, stored, planner)


def _signed(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + content).digest() + content


def _checked(name: str, stored: bytes) -> bytes:
    digest, content = stored[:_DIGEST], stored[_DIGEST:]
    if hashlib.sha256(name.encode() + b"\0" + content).digest() != digest:
        raise ValueError(f"the object {name} is damaged: it does not match the digest that was stored with it")
    return content


def _absolute(checkpoint_id: str | os.PathLike[str]) -> Path:
    # A relative id means the place that it named at this moment.
    return Path(Path.cwd(), checkpoint_id)
