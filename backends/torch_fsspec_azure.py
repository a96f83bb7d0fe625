"""torch's own storage over fsspec on Azure blobs (adlfs), against Azurite on loopback."""

from __future__ import annotations

import adlfs
import torch
from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter

from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.harness.backend.store_servers import Azurite

backend = Backend(
    name="FsspecWriter (adlfs)",
    version=f"torch {torch.__version__}, adlfs {adlfs.__version__}",
    writer=FsspecWriter,
    reader=FsspecReader,
    store=Azurite(),
)
