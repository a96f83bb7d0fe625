"""Bugs that let a checkpoint, its place or its address do more than they should."""

from __future__ import annotations

import io
import logging
import os
import pickle
from typing import Any
from unittest import mock

import torch
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.planner import LoadItemType

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.reference_impl.errors import CorruptCheckpointError
from dcp_conformance.reference_impl.files.local_files import LocalBlob, LocalFiles, resolve_folder
from tests.mutants.making import engine, storage, torch_storage
from tests.mutants.partial import loading


class _PickleReader(control.Reader):
    """Metadata is a pickle, so it is unpickled."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        rank = kwargs.get("rank")
        return pickle.loads((self._root / ("commit" if rank is None else f"commit-{rank}")).read_bytes()[32:])


class _PrefixFiles(LocalFiles):
    """A path lies in the folder if it begins with the folder's: so does that of `step_1-old` with that of `step_1`."""

    def open(self, name: str) -> LocalBlob:
        path = os.path.realpath(self.path(name))
        if os.path.isabs(name) or not path.startswith(os.path.realpath(self.folder)):
            raise CorruptCheckpointError(f"the metadata names the file {name!r}, which lies outside of the checkpoint")
        return LocalBlob(path)


class _PrefixReader(reference_impl.FileSystemReader):
    def _open(self, path: Any) -> None:
        self.files = _PrefixFiles(resolve_folder(path))


class _PickleTensorReader(FileSystemReader):
    """Loads tensors as torch once did."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        real = torch.load

        def load(*args: Any, **kwargs: Any) -> Any:
            return real(*args, **{**kwargs, "weights_only": False})

        with mock.patch.object(torch, "load", load):
            return super().read_data(plan, planner)


class _OwnFormatReader(control.Reader):
    """Its objects are made with torch.save, so torch.load will do."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        for request in plan.items:
            data = (self._root / self._names[request.storage_index]).read_bytes()[32:]
            if request.type is LoadItemType.BYTE_IO:
                planner.load_bytes(request, io.BytesIO(data))
            else:
                control._fill(request, torch.load(io.BytesIO(data), weights_only=False), planner)
        done: Any = torch.futures.Future()
        done.set_result(None)
        return done


class _SharingWriter(control.Writer):
    """Everybody in the team must be able to read it."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        for path in self._root.rglob("*"):
            path.chmod(0o777 if path.is_dir() else 0o666)


class _Unpickling(reference_impl.DefaultLoadPlanner):
    """Objects are what torch.save wrote, whoever wrote it."""

    def load_bytes(self, read_item: Any, value: Any) -> None:
        self._put(read_item.dest_index.fqn, torch.load(value, weights_only=False))


def _save_with_log(state: Any, *, checkpoint_id: Any = None, **arguments: Any) -> Any:
    logging.getLogger("engine").info("saving to %s", checkpoint_id)
    return reference_impl.save(state, checkpoint_id=checkpoint_id, **arguments)


unpickles_metadata = storage(breaks=["SEC-01"], reader=_PickleReader)
unpickles_objects = loading(_Unpickling, breaks=["SEC-02"])
follows_paths = torch_storage(breaks=["SEC-03"])
compares_paths_as_text = torch_storage(breaks=["SEC-03"], writer=reference_impl.FileSystemWriter, reader=_PrefixReader)
unpickles_tensors = torch_storage(breaks=["SEC-04"], reader=_PickleTensorReader)
unpickles_its_own_format = storage(breaks=["SEC-04"], reader=_OwnFormatReader)
shares_its_files = storage(breaks=["SEC-06"], writer=_SharingWriter)
logs_the_address = engine(breaks=["SEC-07"], save=_save_with_log)
