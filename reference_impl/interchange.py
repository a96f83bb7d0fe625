"""The types that DCP engines, planners and storages share; taken from torch, so that objects can be exchanged with it.

Only plain data classes, abstract base classes and the exception class come from torch. No torch engine, planner,
storage or utility is called anywhere in this package (a test reads the imports of every file).
"""

from __future__ import annotations

from typing import Any, TypeAlias

from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import _StorageInfo as StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    BytesIOWriteData,
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType, AsyncSaveResponse
from torch.distributed.checkpoint.stateful import Stateful
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult

StateDict: TypeAlias = dict[str, Any]

#: The value of ``Metadata.version`` that this package writes.
FORMAT_VERSION = "1.0.0"

__all__ = [
    "FORMAT_VERSION",
    "AsyncCheckpointerType",
    "AsyncSaveResponse",
    "BytesIOWriteData",
    "BytesStorageMetadata",
    "CheckpointException",
    "ChunkStorageMetadata",
    "LoadItemType",
    "LoadPlan",
    "LoadPlanner",
    "Metadata",
    "MetadataIndex",
    "ReadItem",
    "SavePlan",
    "SavePlanner",
    "StateDict",
    "Stateful",
    "StorageInfo",
    "StorageMeta",
    "StorageReader",
    "StorageWriter",
    "TensorProperties",
    "TensorStorageMetadata",
    "TensorWriteData",
    "WriteItem",
    "WriteItemType",
    "WriteResult",
]
