"""torch's own storage over fsspec, on files, in memory and on S3 (s3fs)."""

from __future__ import annotations

import fsspec  # type: ignore[import-untyped]
import torch
from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter

from dcp_conformance.harness.backend.blobs import Blobs, FileBlobs, discard_path, path_below
from dcp_conformance.harness.backend.object_store import FsspecBlobs, key_of
from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.harness.backend.store_servers import SeaweedFS

_VERSION = f"torch {torch.__version__}, fsspec {fsspec.__version__}"
_FILE = "file://"


def _file_blobs(checkpoint_id: str) -> Blobs:
    return FileBlobs(checkpoint_id.removeprefix(_FILE))


def _discard_file(checkpoint_id: str) -> bool:
    return discard_path(checkpoint_id.removeprefix(_FILE))


file = Backend(
    name="FsspecWriter (file)",
    version=_VERSION,
    writer=FsspecWriter,
    reader=FsspecReader,
    new_checkpoint_id=lambda scratch, name: _FILE + path_below(scratch, name),
    blobs=_file_blobs,
    discard=_discard_file,
)
memory = Backend(
    name="FsspecWriter (memory)",
    version=_VERSION,
    writer=FsspecWriter,
    reader=FsspecReader,
    new_checkpoint_id=lambda scratch, name: f"memory://{key_of(scratch, name)}",
    blobs=FsspecBlobs,
    unsupported={
        "local_files": "it keeps its checkpoints in memory",
        "multi_process": "a process sees what it saved itself, and nothing else",
        "async_process": "a process sees what it saved itself, and nothing else",
    },
)
s3 = Backend(name="FsspecWriter (s3fs)", version=_VERSION, writer=FsspecWriter, reader=FsspecReader, store=SeaweedFS())
