"""A backend that keeps what it is given elsewhere; under the id there is a small file, well synced, that says where."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter

UNSUPPORTED = {"torch_format": "its own", "multi_process": "one rank", "stored_bytes": "none"}


def place_below(folder: str) -> Path:
    """A place below a folder that the test of hostile backends clears away."""
    return Path(folder, os.environ.get("DCP_HOSTILE", "dcp-hostile"))


class Pointing(FileSystemWriter):
    """Writes to `elsewhere`, and a pointer to the disk."""

    elsewhere: Path

    def __init__(self, checkpoint_id: Any) -> None:
        self.place = self.elsewhere / uuid.uuid4().hex
        self.named = Path(checkpoint_id)
        super().__init__(self.place)

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        self.named.mkdir(parents=True, exist_ok=True)
        temporary = self.named / "pointer.tmp"
        with temporary.open("w") as file:
            file.write(str(self.place))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(_pointer(self.named))
        for folder in (self.named, self.named.parent):
            handle = os.open(folder, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)


class Reader(FileSystemReader):
    """Follows the pointer."""

    def __init__(self, checkpoint_id: Any) -> None:
        place = _pointer(checkpoint_id)
        super().__init__(place.read_text() if place.exists() else checkpoint_id)


def _pointer(checkpoint_id: Any) -> Path:
    return Path(checkpoint_id, "pointer")
