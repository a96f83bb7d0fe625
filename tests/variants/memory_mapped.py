"""One raw file for each rank, which readers map into memory instead of reading it."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.storage import WriteResult

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _raw, _store


class Writer(_raw.Writer):
    """Writes the items of a rank one behind the other."""

    def written(self, plan: Any, planner: Any) -> list[WriteResult]:
        name, position, parts, results = f"{plan.storage_data}-0", 0, [], []
        for item in plan.items:
            content = _raw.item_bytes(item, planner)
            where = _raw.place(name, position, content)
            results.append(WriteResult(index=item.index, size_in_bytes=len(content), storage_data=where))
            parts.append(content)
            position += len(content)
        if plan.items:
            _store.write_file(self.root / name, b"".join(parts))
        return results


class Reader(_raw.Reader):
    """Maps a file for as long as its items are copied out of it."""

    @contextlib.contextmanager
    def opened(self, path: Path) -> Iterator[Any]:
        with open(path, "rb") as stream:
            if not os.fstat(stream.fileno()).st_size:
                yield b""  # an empty file cannot be mapped
                return
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                yield mapped


backend = Backend(name="memory_mapped", writer=Writer, reader=Reader, unsupported=_store.UNSUPPORTED)
