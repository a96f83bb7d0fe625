"""Writing from a process of its own, so that serialising does not hold this process's interpreter lock.

Planning, agreement between ranks and the commit stay here, on the caller's process group. Only ``write_data`` moves:
the data of all items is put into one file in shared memory, and the other process runs the storage's ``write_data``
over it. The file has no name, so that it is gone with the processes, whatever ends them. The process is started at the
first use and again whenever it has died.
"""

from __future__ import annotations

import io
import mmap
import multiprocessing
import os
import pickle
import tempfile
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler, recv_handle, send_handle
from typing import IO, Any

import torch
from torch.futures import Future

from dcp_conformance.reference_impl.files.entry_writer import compact
from dcp_conformance.reference_impl.interchange import (
    Metadata,
    MetadataIndex,
    SavePlan,
    SavePlanner,
    StateDict,
    StorageMeta,
    StorageWriter,
    WriteItem,
    WriteItemType,
    WriteResult,
)
from dcp_conformance.reference_impl.ranks.calls import takes
from dcp_conformance.reference_impl.ranks.envelopes import Envelope, seal
from dcp_conformance.reference_impl.values.memory import memory_of

#: Alignment of each value in the shared file: enough for every dtype.
_ALIGN = 64


@dataclass(frozen=True)
class _Place:
    """Where a value lies in the shared file."""

    start: int
    length: int
    #: None for the bytes of a serialised object.
    dtype: torch.dtype | None = None
    size: tuple[int, ...] = ()


class ProcessWriter(StorageWriter):
    """A storage writer whose ``write_data`` runs in the writer process; everything else is passed on."""

    def __init__(self, inner: StorageWriter) -> None:
        self.inner = inner

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        self.inner.reset(checkpoint_id)

    def storage_meta(self) -> StorageMeta | None:
        return self.inner.storage_meta()

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        if takes(self.inner.set_up_storage_writer, "kwargs"):
            self.inner.set_up_storage_writer(is_coordinator, *args, **kwargs)
        else:
            self.inner.set_up_storage_writer(is_coordinator, *args)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return self.inner.prepare_local_plan(plan)

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return self.inner.prepare_global_plan(plans)

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Run the storage's ``write_data`` in the other process, and take over the state that it leaves there."""
        # In memory where there is such a place; else a file that the page cache holds does the same more slowly.
        folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryFile(dir=folder) as stream:
            places = _lay_out(stream, plan, planner)
            results, state = _process.write(self.inner, plan, stream, places)
        # The writer in the other process was a copy: what write_data noted there is needed by finish here.
        vars(self.inner).update(state)
        future: Future[list[WriteResult]] = Future()
        future.set_result(results)
        return future

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        self.inner.finish(metadata, results)

    @property
    def committed(self) -> bool:
        """Whether the storage says that its metadata is in place."""
        return bool(getattr(self.inner, "committed", True))

    def discard(self) -> None:
        """Take back what was written, if the storage can."""
        discard = getattr(self.inner, "discard", None)
        if callable(discard):
            discard()

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return False


def _lay_out(stream: IO[bytes], plan: SavePlan, planner: SavePlanner) -> dict[MetadataIndex, _Place]:
    """Put the values of all items into a file. One file, so that no number of tensors uses up the descriptors."""
    places: dict[MetadataIndex, _Place] = {}
    for item in plan.items:
        # Values are viewed in place by the other process, and torch views need the alignment of their dtype.
        stream.seek(-stream.tell() % _ALIGN, os.SEEK_CUR)
        places[item.index] = _append(stream, item, planner)
    # The other process maps the file: what is still in Python's buffer would be zeros there.
    stream.flush()
    return places


def _append(stream: IO[bytes], item: WriteItem, planner: SavePlanner) -> _Place:
    data: Any = planner.resolve_data(item)
    start = stream.tell()
    if item.type == WriteItemType.BYTE_IO:
        raw = data.getbuffer() if isinstance(data, io.BytesIO) else memoryview(data)
        stream.write(raw)
        return _Place(start, len(raw))
    tensor = compact(item.index.fqn, data).contiguous()
    stream.write(memory_of(tensor))
    return _Place(start, tensor.nbytes, tensor.dtype, tuple(tensor.size()))


class _WriterProcess:
    """The process, shared by all background saves of this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: Any = None
        self._connection: Connection | None = None

    def write(
        self, writer: StorageWriter, plan: SavePlan, stream: IO[bytes], places: dict[MetadataIndex, _Place]
    ) -> tuple[list[WriteResult], dict[str, Any]]:
        """Run one ``write_data``. Raises what it raised, or RuntimeError where the process died."""
        # Outside of the lock, and before anything is sent: a writer that cannot be pickled must not leave half a
        # request.
        request = ForkingPickler.dumps((writer, plan, places))
        # One request at a time: the answers have no names by which they could be told apart.
        with self._lock:
            connection = self._running()
            try:
                send_handle(connection, stream.fileno(), self._process.pid)
                connection.send_bytes(request)
                reply = connection.recv()
            except (EOFError, ConnectionError) as error:
                self._process.join(1)
                raise RuntimeError(f"the writer process died (exit code {self._process.exitcode})") from error
        if isinstance(reply, Envelope):
            raise reply.open()[0]
        results, state = reply
        return results, state

    def _running(self) -> Connection:
        # It may have been killed since the last save; that save failed, and the next one gets a new process.
        if self._process is None or not self._process.is_alive() or self._connection is None:
            # Not fork: this process has threads and a process group, whose locks a child would inherit as they are.
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), name="reference_impl-writer", daemon=True)
            self._process.start()
            theirs.close()  # so that the death of the process ends a recv here
        return self._connection


_process = _WriterProcess()
# A forked child must not talk to its parent's process.
os.register_at_fork(after_in_child=lambda: _process.__init__())  # type: ignore[misc]


def _serve(connection: Connection) -> None:
    """Be the other process: write what comes, until the first process is gone."""
    # It writes beside training, whose cores it should leave alone.
    torch.set_num_threads(1)
    while True:
        try:
            file, request = recv_handle(connection), connection.recv_bytes()
        except EOFError:
            return
        try:
            with open(file, "rb") as stream:
                reply: Any = _write(stream, *pickle.loads(request))
        except BaseException as error:
            # Sealed: the exception of a foreign storage may not pickle, and the other side has to hear of it anyway.
            reply = seal(error)
        try:
            connection.send(reply)
        except BaseException as error:
            connection.send(seal(error))


def _write(
    stream: IO[bytes], writer: StorageWriter, plan: SavePlan, places: dict[MetadataIndex, _Place]
) -> tuple[list[WriteResult], dict[str, Any]]:
    size = os.fstat(stream.fileno()).st_size
    # A private copy: what a storage does to its tensors stays in this process. An empty file cannot be mapped.
    memory = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_COPY) if size else None
    results: list[WriteResult] = writer.write_data(plan, _Resolved(memory, places)).wait()
    return results, vars(writer)


class _Resolved(SavePlanner):
    """A planner that only knows the values in the shared file."""

    def __init__(self, memory: mmap.mmap | None, places: dict[MetadataIndex, _Place]) -> None:
        self._memory, self._places = memory, places

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        place = self._places[write_item.index]
        if place.dtype is None:
            return io.BytesIO(memoryview(self._memory)[place.start : place.start + place.length])  # type: ignore[arg-type]
        # frombuffer refuses an empty buffer.
        if place.length == 0:
            return torch.empty(place.size, dtype=place.dtype, device="cpu")
        data = torch.frombuffer(self._memory, dtype=torch.uint8, count=place.length, offset=place.start)
        return data.view(place.dtype).view(place.size)

    def set_up_planner(
        self, state_dict: StateDict, storage_meta: StorageMeta | None = None, is_coordinator: bool = False
    ) -> None:
        """Do nothing: planning took place in the first process."""

    def create_local_plan(self) -> SavePlan:
        return SavePlan([])

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        return all_plans, Metadata({})

    def finish_plan(self, new_plan: SavePlan) -> SavePlan:
        return new_plan
