"""NVIDIA's multi-storage-client: the same pair over local files, and over SeaweedFS on loopback."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from multistorageclient.contrib.torch import MultiStorageFileSystemReader, MultiStorageFileSystemWriter

from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.harness.backend.store_servers import SeaweedFS

_VERSION = importlib.metadata.version("multi-storage-client")
_CONFIG = {"MSC_CONFIG": str(Path(__file__).resolve().with_name("multi_storage_client.json"))}

files = Backend(
    name="multi-storage-client (files)",
    version=_VERSION,
    writer=MultiStorageFileSystemWriter,
    reader=MultiStorageFileSystemReader,
)
s3 = Backend(
    name="multi-storage-client (S3)",
    version=_VERSION,
    writer=MultiStorageFileSystemWriter,
    reader=MultiStorageFileSystemReader,
    store=SeaweedFS(prefix="msc://seaweed/", environment=_CONFIG),
)
