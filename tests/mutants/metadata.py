"""Bugs in what metadata says: of values, of shards, of the save that it belongs to."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import torch
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.utils import find_state_dict_object

from dcp_conformance.harness import control
from tests.mutants.making import engine, storage, torch_storage


class _ScalarReader(FileSystemReader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        metadata = super().read_metadata(*args, **kwargs)
        for key, entry in metadata.state_dict_metadata.items():
            if isinstance(entry, TensorStorageMetadata) and not entry.size:
                metadata.state_dict_metadata[key] = BytesStorageMetadata()
        return metadata


class _OneChunkReader(FileSystemReader):
    """Describes every tensor as one piece, as it will be once it is loaded."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        metadata = super().read_metadata(*args, **kwargs)
        for entry in metadata.state_dict_metadata.values():
            if isinstance(entry, TensorStorageMetadata):
                entry.chunks = [ChunkStorageMetadata(torch.Size([0] * len(entry.size)), entry.size)]
        return metadata


class _RankZeroWriter(FileSystemWriter):
    """Describes the shards that the coordinator holds."""

    def finish(self, metadata: Metadata, results: Any) -> None:
        own = {(result.index.fqn, tuple(result.index.offset or ())) for result in results[0]}
        for key, entry in metadata.state_dict_metadata.items():
            if isinstance(entry, TensorStorageMetadata):
                entry.chunks = [chunk for chunk in entry.chunks if (key, tuple(chunk.offsets)) in own]
        super().finish(metadata, results)


@dataclasses.dataclass
class _ChunkOnDevice(ChunkStorageMetadata):
    """A chunk that must be told where it lives."""

    def __init__(self, offsets: torch.Size, sizes: torch.Size, device: str) -> None:
        super().__init__(offsets, sizes)
        self.device = device


@dataclasses.dataclass(frozen=True)
class _StrictIndex:
    """An index of which every field counts."""

    fqn: str
    offset: Any = None
    index: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "offset", None if self.offset is None else torch.Size(self.offset))


def _find_by_hint(state: Any, index: MetadataIndex) -> Any:
    """Looks at the hint and at nothing else, where there is one."""
    value = state.get(index.fqn)
    if index.index is not None and hasattr(value, "local_shards"):
        return value.local_shards()[min(index.index, len(value.local_shards()) - 1)].tensor
    return find_state_dict_object(state, index)


class _ForgetfulReader(FileSystemReader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        metadata = super().read_metadata(*args, **kwargs)
        metadata.planner_data = None
        return metadata


class _KeyedWriter(FileSystemWriter):
    """Keeps its table of contents by key, so that of two shards one is lost."""

    def finish(self, metadata: Metadata, results: Any) -> None:
        by_key = {result.index.fqn: result for rank in results for result in rank}
        super().finish(metadata, [list(by_key.values())])


class _DtypeAlone(TensorProperties):
    """Pickles what still has a meaning."""

    def __getstate__(self) -> Any:
        return self.dtype

    def __setstate__(self, state: Any) -> None:
        self.__init__(dtype=state)  # type: ignore[misc]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorProperties) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class _FirstNameWriter(control.Writer):
    """Remembers the name that it was made with."""

    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(checkpoint_id)
        self._name = os.path.basename(checkpoint_id)

    def storage_meta(self) -> StorageMeta:
        return StorageMeta(checkpoint_id=self._name, save_id=self._save_id)


class _PlannerlessWriter(control.Writer):
    """Stores what it understands."""

    def finish(self, metadata: Metadata, results: Any) -> None:
        metadata.planner_data = None
        super().finish(metadata, results)


class _CompleteReader(FileSystemReader):
    """Makes sure that all data is there before it says what there is."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        metadata = super().read_metadata(*args, **kwargs)
        for place in {info.relative_path for info in metadata.storage_data.values()}:
            with open(os.path.join(self.path, place), "rb") as file:
                file.read(1)
        return metadata


class _NamelessReader(control.Reader):
    """Tells the planner which checkpoint it reads, but not in which request."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        metadata = super().read_metadata(*args, **kwargs)
        if metadata.storage_meta is not None:
            metadata.storage_meta.load_id = None
        return metadata


_CLASSES = {
    "Metadata": Metadata,
    "MetadataIndex": MetadataIndex,
    "TensorStorageMetadata": TensorStorageMetadata,
    "ChunkStorageMetadata": ChunkStorageMetadata,
    "BytesStorageMetadata": BytesStorageMetadata,
    "TensorProperties": TensorProperties,
    "find_state_dict_object": find_state_dict_object,
}
describes_scalars_as_bytes = torch_storage(breaks=["META-01"], reader=_ScalarReader)
describes_one_chunk = torch_storage(breaks=["META-02"], reader=_OneChunkReader)
describes_shards_of_rank_zero = torch_storage(breaks=["META-03"], writer=_RankZeroWriter)
needs_a_new_field = engine(breaks=["META-04"], utilities={**_CLASSES, "ChunkStorageMetadata": _ChunkOnDevice})
compares_hints = engine(breaks=["META-05"], utilities={**_CLASSES, "MetadataIndex": _StrictIndex})
trusts_hints = engine(breaks=["META-06"], utilities={**_CLASSES, "find_state_dict_object": _find_by_hint})
forgets_planner_data_of_files = torch_storage(breaks=["META-07"], reader=_ForgetfulReader)
keeps_one_entry_for_a_key = torch_storage(breaks=["META-08"], writer=_KeyedWriter)
pickles_the_dtype_alone = engine(breaks=["META-09"], utilities={**_CLASSES, "TensorProperties": _DtypeAlone})
names_the_first_checkpoint = storage(breaks=["META-10"], writer=_FirstNameWriter)
forgets_planner_data = storage(breaks=["META-12"], writer=_PlannerlessWriter)
lists_with_all_data_only = torch_storage(breaks=["META-13"], reader=_CompleteReader)
keeps_ids_to_itself = storage(breaks=["LOG-07"], reader=_NamelessReader)
