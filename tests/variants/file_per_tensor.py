"""One file for each tensor, into which every rank writes its shards at their place; no rank has a file of its own."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from torch.distributed.checkpoint.storage import WriteResult

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _raw, _store


class Writer(_raw.Writer):
    """The coordinator decides where in which file each item goes, all ranks write there."""

    def prepare_global_plan(self, plans: list[Any]) -> list[Any]:
        files: dict[str, int] = {}
        ends: dict[str, int] = {}
        placed = []
        for plan in plans:
            places = []
            for item in plan.items:
                key = item.index.fqn
                name = f"{self.save_id}/{self.rank or 0 if self.alone else 0}-{files.setdefault(key, len(files))}"
                places.append((name, ends.get(key, 0)))
                ends[key] = ends.get(key, 0) + _raw.planned_size(item)
            placed.append(dataclasses.replace(plan, storage_data=places))
        return placed

    def written(self, plan: Any, planner: Any) -> list[WriteResult]:
        _store.make_folder(self.root)
        results, folders = [], set()
        for item, (name, position) in zip(plan.items, plan.storage_data, strict=True):
            content, path = _raw.item_bytes(item, planner), self.root / name
            _store.make_folder(path.parent)
            folders.add(path.parent)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                _write_all(descriptor, content, position)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            where = _raw.place(name, position, content)
            results.append(WriteResult(index=item.index, size_in_bytes=len(content), storage_data=where))
        for folder in folders:
            _store.synced(folder)
        return results


def _write_all(descriptor: int, content: bytes, position: int) -> None:
    while content:
        count = os.pwrite(descriptor, content, position)
        content, position = content[count:], position + count


backend = Backend(name="file_per_tensor", writer=Writer, reader=_raw.Reader, unsupported=_store.UNSUPPORTED)
