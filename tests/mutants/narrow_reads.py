"""Bugs of readers that show only for some values, some parts or some targets: large, empty, padded, out of order."""

from __future__ import annotations

import io
import mmap
from dataclasses import replace
from typing import Any

import torch
from torch.distributed.checkpoint.planner import LoadItemType

from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import read_object
from tests.mutants.corruption import _Reading
from tests.mutants.making import storage

_LARGE = 1 << 18


class _Stored(control.Reader):
    """Takes large tensors on a way of its own, `large`."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        by_name: dict[str, list[Any]] = {}
        for item in plan.items:
            by_name.setdefault(self._names[item.storage_index], []).append(item)
        others: list[Any] = []
        for name, items in by_name.items():
            content = read_object(self._root, name)
            if len(content) <= _LARGE or items[0].type is LoadItemType.BYTE_IO:
                others += items
            else:
                self.large(torch.load(io.BytesIO(content), weights_only=True), items, planner)
        return super().read_data(replace(plan, items=others), planner)

    def large(self, stored: torch.Tensor, items: list[Any], planner: Any) -> None:
        for item in items:
            control._fill(item, stored, planner)


class _WindowReader(_Stored):
    """Reads the rows that are wanted, which the plan lists in order."""

    def large(self, stored: torch.Tensor, items: list[Any], planner: Any) -> None:
        low, last = items[0].storage_offsets[0], items[-1]
        window = stored[low : last.storage_offsets[0] + last.lengths[0]]
        moved = [[item.storage_offsets[0] - low, *item.storage_offsets[1:]] for item in items]
        super().large(
            window,
            [replace(item, storage_offsets=torch.Size(to)) for item, to in zip(items, moved, strict=True)],
            planner,
        )


class _PaddedReader(_Stored):
    """Fills a target whose elements follow one another in order as one run of memory."""

    def large(self, stored: torch.Tensor, items: list[Any], planner: Any) -> None:
        for item in items:
            target = planner.resolve_tensor(item).detach()
            strides = target.stride()
            in_order = target.dim() > 0 and strides[-1] == 1 and list(strides) == sorted(strides, reverse=True)
            whole = len(items) == 1 and target.size() == stored.size() and target.dtype == stored.dtype
            if in_order and whole and type(target) is torch.Tensor and not target.is_contiguous():
                target.as_strided((target.numel(),), (1,)).copy_(stored.reshape(-1))
                planner.commit_tensor(item, target)
            else:
                control._fill(item, stored, planner)


class _MappedReader(_Reading):
    """Maps what it reads."""

    def content(self, name: str) -> bytes | None:
        found = super().content(name)
        mmap.mmap(-1, len(found or b"")).close()
        return found


class _BumpingReader(_Stored):
    """Tells autograd that a target changed."""

    def large(self, stored: torch.Tensor, items: list[Any], planner: Any) -> None:
        for item in items:
            control._fill(item, stored, planner)
            target = planner.resolve_tensor(item).detach()
            before = target._version
            torch.autograd.graph.increment_version(target)
            assert target._version > before


reads_from_the_first_to_the_last = storage(breaks=["RES-10"], reader=_WindowReader)
reads_over_the_padding = storage(breaks=["RES-12", "TYPE-14"], reader=_PaddedReader)
maps_empty_objects = storage(breaks=["BYTE-07"], reader=_MappedReader)
bumps_what_has_no_version = storage(breaks=["TYPE-10"], reader=_BumpingReader)
