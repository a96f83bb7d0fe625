"""Bugs in how values are stored: bits lost on the way."""

from __future__ import annotations

import io
import os
from typing import Any

import torch
from torch.distributed.checkpoint.planner import WriteItemType

from dcp_conformance.harness import control
from tests.mutants.making import Changed, storage


class _HalfWriter(control.Writer):
    """Stores bfloat16 through float16, as a format without bfloat16 might."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(torch.float16).to(torch.bfloat16) if tensor.dtype == torch.bfloat16 else tensor

        return super().write_data(plan, Changed(planner, change))


class _SignedWriter(control.Writer):
    """Stores the largest unsigned type in the largest signed one, values above its range clamped."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.dtype != torch.uint64:
                return tensor
            return tensor.view(torch.int64).clamp(min=0).view(torch.uint64)

        return super().write_data(plan, Changed(planner, change))


class _SkipsEmptyWriter(control.Writer):
    """Takes a save without items for a save that is not needed."""

    def finish(self, metadata: Any, results: Any) -> None:
        if any(results):
            super().finish(metadata, results)


class _KeyFileWriter(control.Writer):
    """Also keeps each tensor in a file named by its key, for people who look into checkpoints."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        for item in plan.items:
            if item.type is not WriteItemType.BYTE_IO and "\0" not in item.index.fqn and len(item.index.fqn) < 200:
                stream = io.BytesIO()
                torch.save(planner.resolve_data(item), stream)
                path = os.path.join(self._root, "by-key", item.index.fqn)
                if not os.path.isdir(path):
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with open(path, "wb") as file:
                        file.write(stream.getvalue())
        return super().write_data(plan, planner)


class _NarrowWriter(control.Writer):
    """Keeps the length of a tensor in a signed 32-bit field; what lies beyond is lost."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.nbytes <= 1 << 31:
                return tensor
            stored = tensor.clone()
            stored.reshape(-1).view(torch.uint8)[1 << 31 :] = 0
            return stored

        return super().write_data(plan, Changed(planner, change))


_OPEN: list[Any] = []


class _LeakyReader(control.Reader):
    """Keeps the folder of each checkpoint open, to list it faster."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        _OPEN.append(os.open(self._root, os.O_RDONLY))
        return super().read_metadata(*args, **kwargs)


loses_half_precision = storage(breaks=["TYPE-02"], writer=_HalfWriter)
stores_uint64_as_int64 = storage(breaks=["TYPE-15"], writer=_SignedWriter)
writes_nothing_for_an_empty_state = storage(breaks=["FIN-12"], writer=_SkipsEmptyWriter)
uses_keys_as_file_names = storage(breaks=["SEC-05"], writer=_KeyFileWriter)
leaks_a_handle = storage(breaks=["RSRC-05"], reader=_LeakyReader)
counts_bytes_in_32_bits = storage(breaks=["WRITE-18"], writer=_NarrowWriter)
