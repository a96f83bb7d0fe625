"""s3torchconnector (Amazon's S3 connector for PyTorch) against SeaweedFS on loopback."""

from __future__ import annotations

from typing import Any

import s3torchconnector
from s3torchconnector import S3ClientConfig
from s3torchconnector.dcp import S3StorageReader, S3StorageWriter

from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.harness.backend.store_servers import SeaweedFS

_CLIENT = {"region": "us-east-1", "s3client_config": S3ClientConfig(force_path_style=True, max_attempts=3)}


def _writer(checkpoint_id: str, **options: Any) -> S3StorageWriter:
    return S3StorageWriter(path=checkpoint_id, **_CLIENT, **options)


def _reader(checkpoint_id: str) -> S3StorageReader:
    return S3StorageReader(path=checkpoint_id, **_CLIENT)


backend = Backend(
    name="s3torchconnector",
    version=s3torchconnector.__version__,
    writer=_writer,
    reader=_reader,
    store=SeaweedFS(),
)
