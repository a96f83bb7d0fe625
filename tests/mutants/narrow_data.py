"""Bugs of writers that show only for some numbers, names, sizes or attributes of what is stored."""

from __future__ import annotations

import io
import stat
import time
import unicodedata
from dataclasses import replace
from typing import Any

import torch
from torch.distributed.checkpoint.planner import WriteItemType

from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import write_object
from tests.mutants.making import Changed, storage


class _BatchWriter(control.Writer):
    """Writes batches of 16; the last one begins at the last multiple of 16 below the number of items, less one."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done: list[Any] = []
        for start in range(0, max(len(plan.items) - 1, 1), 16):
            batch = replace(plan, items=plan.items[start : start + 16], storage_data=f"{plan.storage_data}{start:04d}")
            done += super().write_data(batch, planner).wait()
        future: torch.futures.Future[Any] = torch.futures.Future()
        future.set_result(done)
        return future


class _NormalWriter(control.Writer):
    """Knows what it stored by a key in one normal form, as some file systems do."""

    def finish(self, metadata: Any, results: Any) -> None:
        def normal(one: Any) -> Any:
            return unicodedata.normalize("NFC", one.index.fqn), one.index.offset

        names = {normal(one): one.storage_data for rank in results for one in rank}
        super().finish(metadata, [[replace(one, storage_data=names[normal(one)]) for one in rank] for rank in results])


_BLOCK = 1 << 14


class _BlockWriter(control.Writer):
    """Gathers what is not contiguous block by block; of whole blocks the last is taken for the rest, which is empty."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.layout is not torch.strided or tensor.is_contiguous() or tensor.nbytes <= _BLOCK:
                return tensor
            flat, step = tensor.reshape(-1), _BLOCK // tensor.element_size()
            gathered = torch.zeros_like(flat)
            whole, rest = (flat.numel() - 1) // step * step, flat.numel() % step
            gathered[:whole] = flat[:whole]
            gathered[flat.numel() - rest :] = flat[flat.numel() - rest :]
            return gathered.view(tensor.size())

        return super().write_data(plan, Changed(planner, change))


_SCRATCH: dict[Any, torch.Tensor] = {}


class _ScratchWriter(control.Writer):
    """Makes tensors contiguous in memory that is kept for the next one of that size."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.layout is not torch.strided or tensor.is_contiguous():
                return tensor
            scratch = _SCRATCH.setdefault((tensor.size(), tensor.dtype), tensor.clone().contiguous())
            scratch.copy_(tensor)
            time.sleep(0.005)
            return scratch

        return super().write_data(plan, Changed(planner, change))


class _PicklingWriter(control.Writer):
    """Stores plain tensors as they are, with whatever a library has hung on them."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        for item, result in zip(plan.items, done.wait(), strict=True):
            data = planner.resolve_data(item)
            if item.type is not WriteItemType.BYTE_IO and type(data) is torch.Tensor and data.__dict__:
                stream = io.BytesIO()
                torch.save(data, stream)
                write_object(self._root, result.storage_data, stream.getvalue())
        return done


class _ModeWriter(control.Writer):
    """Replaces a commit as an editor replaces a file: with the same permissions."""

    def finish(self, metadata: Any, results: Any) -> None:
        commit = self._root / "commit"
        mode = stat.S_IMODE(commit.stat().st_mode) if commit.exists() else None
        super().finish(metadata, results)
        if mode is not None:
            commit.chmod(mode)


leaves_out_a_batch_of_one = storage(breaks=["WRITE-01"], writer=_BatchWriter)
names_files_by_normal_forms = storage(breaks=["SEC-05"], writer=_NormalWriter)
copies_blocks_but_the_last = storage(breaks=["WRITE-03"], writer=_BlockWriter)
shares_its_scratch = storage(breaks=["CONC-04"], writer=_ScratchWriter)
pickles_what_hangs_on_tensors = storage(breaks=["TYPE-09"], writer=_PicklingWriter)
keeps_the_mode_of_the_old = storage(breaks=["SEC-06"], writer=_ModeWriter)
