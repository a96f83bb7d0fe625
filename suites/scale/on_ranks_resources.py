"""What operations leave behind, how much memory they need, and how much they read."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import tempfile
import threading
import time
from typing import Any

import torch
from torch.distributed.checkpoint import LoadPlan, LoadPlanner, Metadata, ReadItem
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import LoadItemType

from dcp_conformance.harness.cluster import processes
from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.by_hand import HandLoadPlanner
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject import engine_calls
from dcp_conformance.harness.subject.session import Session, into_subject

# A backend may tidy up in the background; the contract gives it this many seconds.
GRACE = 5.0
MIB = 1 << 20


def left_behind(session: Session, operations: int) -> list[tuple[int, int, list[str]]]:
    """After each operation from the third on: threads, processes, and what is new but belongs to no checkpoint.

    That are files beside the ids or among temporary ones, and of a load, whether or not it fails, all that is new.
    """
    kept = tempfile.tempdir
    found: list[tuple[int, int, list[str]]] = []
    with tempfile.TemporaryDirectory(dir=session.spec.scratch) as temporary:
        before = _beside(session)
        tempfile.tempdir = temporary
        try:
            for number in range(operations):
                known = set(os.listdir(session.spec.scratch))
                loads = _operation(session, number)
                if number >= 2:
                    # What the third operation leaves is the measure; later ones get time to come down to it.
                    most = (1 << 30, 1 << 30) if not found else found[0][:2]
                    counts = _settled(most)
                    new = (_beside(session) - before) | set(os.listdir(temporary))
                    found.append((*counts, sorted(new | _new_by_a_load(session, known) if loads else new)))
                    if found[-1][2] or counts[0] > most[0] or counts[1] > most[1]:
                        break  # it is decided, and each further one would take all the time that it is given
        finally:
            tempfile.tempdir = kept
    return found


def size_of_random_bytes(session: Session, size: int) -> int:
    """Report how many bytes are stored for a tensor of `size` random bytes."""
    session.needs("stored_bytes")
    checkpoint_id = session.new_id()
    session.save({"t": pattern("random", (size,), torch.uint8)}, checkpoint_id)
    blobs = session.stored_bytes(checkpoint_id)
    return sum(len(blobs.read(name)) for name in blobs.names())


def memory_over_operations(session: Session, early: int, late: int, size: int) -> tuple[int, int]:
    """Memory of the process, bytes, after `early` and `late` rounds of a save, a background save and a load."""
    state, target = {"t": torch.ones(size // 4)}, {"t": torch.zeros(size // 4)}
    at_early = 0
    for number in range(1, late + 1):
        ids = [session.new_id(f"{number}-{kind}") for kind in ("sync", "async")]
        session.save(state, ids[0])
        session.load(target, ids[0])
        if session.engine.async_save is not None and "async_save" not in session.storage.unsupported:
            response = session.async_save(state, ids[1])
            into_subject(getattr(response, "upload_completion", response).result, 30)
            response = None
        for checkpoint_id in ids:
            into_subject(session.storage.discard, checkpoint_id)
        if number == early:
            at_early = _memory()
    return at_early, _memory()


def peak_of_saving_views(session: Session, views: int, size: int) -> int:
    """Extra memory, bytes, while `views` views of `size` bytes of one buffer are saved."""
    base = torch.ones(views, size // 4)
    state = {f"v{number}": base[number] for number in range(views)}
    session.save({"v0": torch.ones(4)}, session.new_id("warm"))
    with _Peak() as peak:
        session.save(state, session.new_id())
    return peak.extra


def peak_of_staging_a_view(session: Session, elements: int, size: int) -> int:
    """Extra memory, bytes, while a small view of a large buffer is saved in the background."""
    if session.engine.async_save is None:
        session.excuse("the engine has no async_save")
    base = torch.ones(size // 4)
    stager = session.stager()
    with _Peak() as peak:
        response = session.async_save({"v": base[:elements]}, session.new_id(), async_stager=stager)
        into_subject(getattr(response, "upload_completion", response).result, 30)
    if stager is not None:
        stager.close()
    return peak.extra


def read_pieces(session: Session, rows: int, size: int, wanted: list[int]) -> tuple[int, int, list[Difference]]:
    """Read rows of one stored chunk of `size` bytes: bytes that this process read, extra memory, wrong values."""
    columns = size // 8 // rows
    whole, checkpoint_id = coded(1, (rows, columns), version=1), session.new_id()
    session.save({"t": whole}, checkpoint_id)
    reader, planner = session.reader(checkpoint_id), _Rows(wanted, columns)
    metadata = reader.read_metadata()
    reader.set_up_storage_reader(metadata, True)
    [plan] = reader.prepare_global_plan([reader.prepare_local_plan(planner.plan(metadata))])
    before = _bytes_read()
    with _Peak() as peak:
        into_subject(_wait, reader, plan, planner)
    found = differences({str(row): whole[row] for row in wanted}, {str(row): planner.rows[row] for row in wanted})
    return _bytes_read() - before, peak.extra, found


def under_descriptor_limit(session: Session, keys: int, limit: int) -> tuple[Attempt, Attempt, list[Difference]]:
    """Report how a save and a load of many keys end under a limit of open descriptors, and what differs."""
    state = {f"key{number}": coded(number, (2,), version=1) for number in range(keys)}
    target, checkpoint_id = blank(state), session.new_id()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limits[1]))
    try:
        saved = session.attempt(session.save, state, checkpoint_id)
        loaded = session.attempt(session.load, target, checkpoint_id)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    return saved, loaded, differences(state, target) if saved.ok and loaded.ok else []


class _Rows(HandLoadPlanner):
    """A planner that wants single rows of the tensor `t`, each in memory of its own."""

    def __init__(self, wanted: list[int], columns: int) -> None:
        self.rows = {row: torch.zeros(columns, dtype=torch.float64) for row in wanted}

    def plan(self, metadata: Metadata) -> LoadPlan:
        stored: Any = metadata.state_dict_metadata["t"]
        [chunk] = stored.chunks
        return LoadPlan([self._item(row, target, chunk) for row, target in self.rows.items()])

    def _item(self, row: int, target: torch.Tensor, chunk: Any) -> ReadItem:
        return ReadItem(
            type=LoadItemType.TENSOR,
            dest_index=MetadataIndex("t", torch.Size([row, 0])),
            dest_offsets=torch.Size([0, 0]),
            storage_index=MetadataIndex("t", chunk.offsets, 0),
            storage_offsets=torch.Size([row, 0]),
            lengths=torch.Size([1, len(target)]),
        )

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        return self.rows[read_item.dest_index.offset[0]].unsqueeze(0)  # type: ignore[index]

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None:
        """It is where it belongs already."""


class _Peak:
    """Samples the memory that this process holds beyond what it held at first, every millisecond, in a thread."""

    extra = 0

    def __enter__(self) -> _Peak:
        gc.collect()
        self._start, self._over = _memory(trim=True), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.extra = max(self.extra, _memory(trim=False) - self._start)
            if self._over.wait(0.001):
                return


def _memory(*, trim: bool = True) -> int:
    """Anonymous and shared memory, bytes: what files that are mapped or cached take is not counted."""
    if trim:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator only keeps for later is no growth
    wanted = 0
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith((b"RssAnon:", b"RssShmem:")):
                wanted += int(line.split()[1]) << 10
    return wanted


def _bytes_read() -> int:
    """Return the bytes that read calls of this process have returned so far."""
    with open("/proc/self/io", "rb") as file:
        return int(next(line for line in file if line.startswith(b"rchar")).split()[1])


def _wait(reader: Any, plan: LoadPlan, planner: LoadPlanner) -> None:
    reader.read_data(plan, planner).wait()


def _operation(session: Session, number: int) -> bool:
    """Save, or load what was saved last: a good load, one that fails while it reads, one of a name that is not there.

    Returns whether it was a load.
    """
    state = {"t": coded(1, (1000,), version=number)}
    turn, loads = divmod(number, 2)
    checkpoint_id = session.new_id(f"at{turn}")
    if not loads:
        session.save(state, checkpoint_id)
    elif turn % 3 == 0:
        session.load(blank(state), checkpoint_id)
    elif turn % 3 == 2 or not session.takes("load", "planner"):
        session.attempt(session.load, {"absent": torch.zeros(2)}, checkpoint_id)
    else:
        planner = engine_calls.planner(session, "Load", faults=(Fault(phase="resolve_tensor", ranks=(0,)),))
        session.attempt(session.load, blank(state), checkpoint_id, planner=planner)
    return bool(loads)


def _new_by_a_load(session: Session, known: set[str]) -> set[str]:
    """Report what a load made where ids are made and did not take away again in time."""
    deadline = time.monotonic() + GRACE
    while new := {name for name in os.listdir(session.spec.scratch) if session.spec.place in name} - known:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return new


def _settled(most: tuple[int, int]) -> tuple[int, int]:
    deadline = time.monotonic() + GRACE
    while True:
        counts = len(os.listdir("/proc/self/task")), len(processes.descendants(os.getpid()))
        if (counts[0] <= most[0] and counts[1] <= most[1]) or time.monotonic() > deadline:
            return counts
        time.sleep(0.05)


def _beside(session: Session) -> set[str]:
    """Report what lies where ids are made, but for ids of this case."""
    return {name for name in os.listdir(session.spec.scratch) if session.spec.place not in name}
