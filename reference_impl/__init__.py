"""An independent implementation of PyTorch Distributed Checkpoint (DCP).

The public names are those of ``torch.distributed.checkpoint``, so that code written for it runs with the names swapped.
The files are torch's: each reads what the other wrote. Start reading at ``save.py`` and ``load.py``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from dcp_conformance.reference_impl.engine.async_save import async_save
from dcp_conformance.reference_impl.engine.load import load, load_state_dict
from dcp_conformance.reference_impl.engine.load_keys import load_keys
from dcp_conformance.reference_impl.engine.save import save, save_state_dict
from dcp_conformance.reference_impl.engine.staging import AsyncStager, DefaultStager, StagingOptions
from dcp_conformance.reference_impl.errors import (
    ConcurrentSaveError,
    CorruptCheckpointError,
    DifferentCheckpointsError,
    UnknownVersionError,
    UnreadableObjectError,
)
from dcp_conformance.reference_impl.interchange import (
    AsyncCheckpointerType,
    AsyncSaveResponse,
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
from dcp_conformance.reference_impl.values.dtypes import LossyConversionWarning

__version__ = "1.0"

# What drives or serves this engine as it does torch's own, and is torch's: handed on, and imported only when asked for.
_TORCHS: Mapping[str, str] = {
    "BlockingAsyncStager": "staging",
    "FileSystem": "filesystem",
    "FsspecReader": "_fsspec_filesystem",
    "FsspecWriter": "_fsspec_filesystem",
    "HuggingFaceStorageReader": "hf_storage",
    "HuggingFaceStorageWriter": "hf_storage",
    "QuantizedHuggingFaceStorageReader": "quantized_hf_storage",
    "SerializationFormat": "filesystem",
    "load_sharded_optimizer_state_dict": "optimizer",
}

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
    "LossyConversionWarning",
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
    "UnreadableObjectError",
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


def __getattr__(name: str) -> Any:
    """Hand on a name of torch's that is not made anew here."""
    if name not in _TORCHS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"torch.distributed.checkpoint.{_TORCHS[name]}"), name)
