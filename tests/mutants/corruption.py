"""Bugs in how damaged bytes are met: not looked at, smoothed over, or fatal."""

from __future__ import annotations

import ctypes
import io
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import CheckpointException, FileSystemReader
from torch.distributed.checkpoint.planner import LoadItemType
from torch.futures import Future

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import read_object
from tests.mutants.making import engine, storage, torch_storage

_DIGEST = 32


class _ZerosReader(FileSystemReader):
    """Gives zeros for tensors whose file is not there; an object in it would be missed."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        here = []
        for item in plan.items:
            name = self.storage_data[item.storage_index].relative_path
            if item.type is LoadItemType.BYTE_IO or Path(self.path, name).exists():
                here.append(item)
            else:
                planner.commit_tensor(item, planner.resolve_tensor(item).detach().zero_())
        return super().read_data(replace(plan, items=here), planner)


class _Reading(control.Reader):
    """A reader that gets the contents of data objects by `content`; None skips the object."""

    def content(self, name: str) -> bytes | None:
        return read_object(self._root, name)

    def read_data(self, plan: Any, planner: Any) -> Any:
        by_name: dict[str, list[Any]] = {}
        for request in plan.items:
            by_name.setdefault(self._names[request.storage_index], []).append(request)
        for name, requests in by_name.items():
            found = self.content(name)
            if found is not None:
                control._deliver(found, requests, planner)
        done: Future[None] = Future()
        done.set_result(None)
        return done


class _Careless(_Reading):
    """Verifying took too long."""

    def content(self, name: str) -> bytes | None:
        return (self._root / name).read_bytes()[_DIGEST:]


class _Sparse(_Reading):
    """What is not there was all zeros, and the target holds zeros already."""

    def content(self, name: str) -> bytes | None:
        return super().content(name) if (self._root / name).exists() else None


class _SparseElsewhere(_Reading):
    """As sparse objects go, on all ranks but the coordinator, which is the one that was tried."""

    _alone = False

    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        self._alone = is_coordinator

    def content(self, name: str) -> bytes | None:
        return super().content(name) if self._alone or (self._root / name).exists() else None


class _EmptyIsZero(_Reading):
    """An empty object was all zeros, and the target holds zeros already."""

    def content(self, name: str) -> bytes | None:
        return super().content(name) if os.path.getsize(self._root / name) else None


class _Native(_Reading):
    """Decodes in native code, which takes every object for sound."""

    def content(self, name: str) -> bytes | None:
        try:
            return super().content(name)
        except (ValueError, FileNotFoundError):
            ctypes.string_at(0)
            raise


class _ScaleWriter(control.Writer):
    """Keeps a scale for each tensor in a small text beside the metadata."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        scales = {index.fqn: f"{1:.20f}" for index in metadata.storage_data}
        (self._root / "scales").write_text(json.dumps(scales, indent=1), encoding="utf-8")


class _ScaleReader(_Reading):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        metadata = super().read_metadata(*args, **kwargs)
        scales = json.loads((self._root / "scales").read_text(encoding="utf-8"))
        for index, name in metadata.storage_data.items():
            metadata.storage_data[index] = f"{name}*{float(scales.get(index.fqn, 1))!r}"
        return metadata

    def content(self, name: str) -> bytes | None:
        name, _, scale = name.partition("*")
        found = super().content(name)
        if found is None or float(scale) == 1.0:
            return found
        stream = io.BytesIO()
        torch.save(torch.load(io.BytesIO(found)) * float(scale), stream)
        return stream.getvalue()


class _Looking(reference_impl.FileSystemReader):
    """Knows its metadata by what it unpickles to, before anything is checked."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        try:
            pickle.loads(Path(self.files.path(".metadata")).read_bytes())
        except Exception as error:
            raise reference_impl.CorruptCheckpointError("this is no metadata") from error
        return super().read_metadata(*args, **kwargs)


def _load_without_cause(state: Any, **arguments: Any) -> None:
    """Tells users that it failed, and no more."""
    try:
        reference_impl.load(state, **arguments)
    except CheckpointException as error:
        untold: Any = {rank: (RuntimeError("load failed"), None) for rank in error.failures}
        raise CheckpointException("load", untold) from None


def _load_for_oneself(state: Any, **arguments: Any) -> None:
    """A rank that got all it asked for need not care about the others."""
    import torch.distributed as dist

    try:
        reference_impl.load(state, **arguments)
    except CheckpointException as error:
        if not dist.is_initialized() or dist.get_rank() in error.failures:
            raise


skips_the_digest = storage(breaks=["CORR-03", "CORR-04", "CORR-09"], reader=_Careless)
takes_missing_objects_for_zeros = storage(breaks=["CORR-01"], reader=_Sparse)
takes_empty_objects_for_zeros = storage(breaks=["CORR-02"], reader=_EmptyIsZero)
keeps_scales_without_a_digest = storage(breaks=["CORR-05"], writer=_ScaleWriter, reader=_ScaleReader)
crashes_on_damage = storage(breaks=["CORR-06"], reader=_Native)
hides_the_cause = engine(
    breaks=["CORR-07"], load=_load_without_cause, unsupported={},
    writer=reference_impl.FileSystemWriter, reader=reference_impl.FileSystemReader,
)  # fmt: skip
hides_the_failure_of_others = engine(breaks=["CORR-08"], load=_load_for_oneself)
trusts_recorded_places = torch_storage(breaks=["CORR-11"])
unpickles_to_have_a_look = torch_storage(breaks=["CORR-12"], writer=reference_impl.FileSystemWriter, reader=_Looking)
takes_missing_tensors_for_zeros = torch_storage(breaks=["CORR-01"], reader=_ZerosReader)
takes_missing_objects_for_zeros_elsewhere = storage(breaks=["CORR-01"], reader=_SparseElsewhere)
