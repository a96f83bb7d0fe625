"""An independent implementation of PyTorch Distributed Checkpoint (DCP).

The public names are those of ``torch.distributed.checkpoint``, so that code written for it runs with the names swapped.
The files are torch's: each reads what the other wrote. Start reading at ``save.py`` and ``load.py``.
"""

from __future__ import annotations

from dcp_conformance.reference_impl.engine.async_save import AsyncCheckpointerType, AsyncSaveResponse, async_save
from dcp_conformance.reference_impl.engine.load import load, load_state_dict
from dcp_conformance.reference_impl.engine.load_keys import load_keys
from dcp_conformance.reference_impl.engine.save import save, save_state_dict
from dcp_conformance.reference_impl.engine.staging import AsyncStager, DefaultStager, StagingOptions
from dcp_conformance.reference_impl.errors import (
    ConcurrentSaveError,
    CorruptCheckpointError,
    DifferentCheckpointsError,
    UnknownVersionError,
)
from dcp_conformance.reference_impl.interchange import (
    BytesStorageMetadata,
    CheckpointException,
    ChunkStorageMetadata,
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    Metadata,
    MetadataIndex,
    ReadItem,
    SavePlan,
    SavePlanner,
    Stateful,
    StorageMeta,
    StorageReader,
    StorageWriter,
    TensorProperties,
    TensorStorageMetadata,
    TensorWriteData,
    WriteItem,
    WriteItemType,
    WriteResult,
)
from dcp_conformance.reference_impl.planners.plan_load import DefaultLoadPlanner
from dcp_conformance.reference_impl.planners.plan_save import DefaultSavePlanner
from dcp_conformance.reference_impl.storage.filesystem_reader import FileSystemReader
from dcp_conformance.reference_impl.storage.filesystem_writer import FileSystemWriter

__version__ = "1.0"

__all__ = [
    "AsyncCheckpointerType",
    "AsyncSaveResponse",
    "AsyncStager",
    "BytesStorageMetadata",
    "CheckpointException",
    "ChunkStorageMetadata",
    "ConcurrentSaveError",
    "CorruptCheckpointError",
    "DefaultLoadPlanner",
    "DefaultSavePlanner",
    "DefaultStager",
    "DifferentCheckpointsError",
    "FileSystemReader",
    "FileSystemWriter",
    "LoadItemType",
    "LoadPlan",
    "LoadPlanner",
    "Metadata",
    "MetadataIndex",
    "ReadItem",
    "SavePlan",
    "SavePlanner",
    "StagingOptions",
    "Stateful",
    "StorageMeta",
    "StorageReader",
    "StorageWriter",
    "TensorProperties",
    "TensorStorageMetadata",
    "TensorWriteData",
    "UnknownVersionError",
    "WriteItem",
    "WriteItemType",
    "WriteResult",
    "async_save",
    "load",
    "load_keys",
    "load_state_dict",
    "save",
    "save_state_dict",
]
