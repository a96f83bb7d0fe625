"""torch's HuggingFace storage, in its three modes: plain (one rank), distributed, consolidated."""

from __future__ import annotations

import functools
from typing import Any

import safetensors
import torch
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter

from dcp_conformance.harness.backend.record import Backend

_UNSUPPORTED = {
    "objects": "safetensors files hold tensors and nothing else",
    "torch_format": "it writes safetensors files",
    "rank_local_metadata": "it has no metadata of its own: a reader rebuilds it from the headers of all files",
}


def _backend(mode: str, more: dict[str, str], **settings: Any) -> Backend:
    return Backend(
        name=f"HuggingFaceStorageWriter ({mode})",
        version=f"torch {torch.__version__}, safetensors {safetensors.__version__}",
        writer=functools.partial(HuggingFaceStorageWriter, **settings),
        reader=HuggingFaceStorageReader,
        unsupported={**_UNSUPPORTED, **more},
    )


plain = _backend("plain", {"multi_process": "without save_distributed only one rank may save"})
distributed = _backend("distributed", {}, save_distributed=True)
consolidated = _backend("consolidated", {}, save_distributed=True, enable_consolidation=True)
