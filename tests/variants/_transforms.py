"""Torch's pair with stream transforms that are applied in the order given, so that what is recorded undoes them.

The sound ground for mutants of the EXT clauses. No variant of the matrix: the rest of it is torch's, defects included.
"""

from __future__ import annotations

from typing import Any

from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.filesystem import _StorageWriterTransforms

from dcp_conformance.harness.backend.record import Backend


class _InOrder(_StorageWriterTransforms):
    """Torch wraps the file with the first transform first, so that it acts last; and records it as the last to undo."""

    def __init__(self, extensions: Any) -> None:
        super().__init__(list(reversed(extensions or ())))

    def transform_save_stream(self, write_item: Any, raw_stream: Any) -> Any:
        stream, descriptors = super().transform_save_stream(write_item, raw_stream)
        return stream, list(reversed(descriptors))


class Writer(FileSystemWriter):
    """Data passes through the first transform first."""

    def __init__(self, path: Any, _extensions: Any = ()) -> None:
        super().__init__(path)
        self.transforms = _InOrder(_extensions)


transforms_in_order = Backend(
    name="transforms_in_order", writer=Writer, reader=FileSystemReader, offers=("extensions",)
)
