"""What metadata says of a checkpoint: when it was saved, when it is read back, and in the file itself."""

from __future__ import annotations

import dataclasses
import pickle
import threading
from typing import Any

import torch
from torch.distributed._shard.metadata import ShardMetadata
from torch.distributed._shard.sharded_tensor import Shard as LocalShard
from torch.distributed._shard.sharded_tensor import init_from_local_shards
from torch.distributed.checkpoint import (
    BytesStorageMetadata,
    DefaultLoadPlanner,
    DefaultSavePlanner,
    Metadata,
    TensorStorageMetadata,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.described import entries, plain
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.driving import drive_load, drive_save
from dcp_conformance.harness.subject.session import Session, into_subject


def kinds(session: Session) -> dict[str, Any]:
    """Report what the stored metadata of a nested state says of each key."""
    state = {
        "a": coded(1, (4, 5), version=1, dtype=torch.float32),
        "n": {"b": 1, "t": coded(2, (), version=1)},
        "l": [2.5],
    }
    session.save(state, session.new_id())
    return entries(session.reader(session.new_id()).read_metadata())


def three_kinds_of_value(session: Session) -> dict[str, Any]:
    """Report what the stored metadata says of an object, a replicated and a sharded tensor."""
    mesh = init_device_mesh("cpu", (session.world_size,))
    state = {
        "object": {"step"}, "replicated": coded(1, (4,), version=1, dtype=torch.float32),
        "sharded": distribute_tensor(coded(2, (10, 10), version=1, dtype=torch.float32), mesh, [Shard(0)]),
    }  # fmt: skip
    session.save(state, session.new_id())
    return entries(session.reader(session.new_id()).read_metadata())


def shards_of_last_rank(session: Session) -> dict[str, Any]:
    """Report what the stored metadata says of a ShardedTensor that lives on the last rank only."""
    last = session.world_size - 1
    place = ShardMetadata([0, 0], [4, 4], f"rank:{last}/cpu")
    shards = [LocalShard(coded(1, (4, 4), version=1), place)] if session.rank == last else []
    session.save({"s": init_from_local_shards(shards, 4, 4)}, session.new_id())
    return entries(session.reader(session.new_id()).read_metadata())


def committed(session: Session) -> dict[str, Any]:
    """Report what the metadata that finish was given says; kept for `read_back` of another process."""
    state = {
        "a": coded(1, (4, 5), version=1),
        "n": {"x.y": coded(2, (3, 0), version=1), "o": "text"},
        "e": [1, {"f": 2}],
    }
    metadata = session.save_and_describe(state, session.new_id())
    return {**entries(metadata), "planner_data": plain(metadata.planner_data)}


def read_back(session: Session) -> dict[str, Any]:
    """Return the same of the metadata that is stored."""
    metadata = session.reader(session.new_id()).read_metadata()
    return {**entries(metadata), "planner_data": plain(metadata.planner_data)}


def storage_entries(session: Session) -> dict[str, Any]:
    """Return the pieces that the stored metadata describes and those that it has storage entries for."""
    mesh = init_device_mesh("cpu", (session.world_size,))
    state = {"plain": coded(1, (4,), version=1), "object": {"a": 1, "b": [2]}, "empty": coded(3, (0, 2), version=1)}
    sharded = distribute_tensor(coded(2, (7, 3), version=1), mesh, [Shard(0)])
    session.save({**state, "sharded": sharded, f"own{session.rank}": session.rank}, session.new_id())
    return _pieces(session.reader(session.new_id()).read_metadata())


class _FailsInSpareThreads(DefaultSavePlanner):
    """Raises for the data of any item that is asked for outside the main thread; the main thread waits for that."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = threading.Event()

    def resolve_data(self, write_item: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            self.failed.wait(2)
            return super().resolve_data(write_item)
        announce("fault", phase="resolve_data", what="raise")
        self.failed.set()
        raise OSError(5, "injected by dcp-conformance in resolve_data")


def entries_after_a_failed_thread(session: Session) -> dict[str, Any] | str | None:
    """As `storage_entries`, of a save with two writer threads of which one fails.

    None where nothing was committed, a sentence where there are no such threads.
    """
    try:
        writer = session.writer(session.new_id(), thread_count=2)
    except TypeError:
        return "its writer takes no number of threads"
    state = {f"t{key}": coded(key, (4,), version=1) for key in range(4)}
    hook, threading.excepthook = threading.excepthook, lambda _arguments: None
    try:
        save = session.attempt(session.save, state, session.new_id(), writer=writer, planner=_FailsInSpareThreads())
    finally:
        threading.excepthook = hook
    return _pieces(session.reader(session.new_id()).read_metadata()) if save.ok else None


def classes_from_required_fields(session: Session) -> list[str]:
    """Return the metadata classes that cannot be built from their original fields alone, with the error."""
    chunk, properties = session.tool("ChunkStorageMetadata"), session.tool("TensorProperties")
    size = torch.Size([1])
    made = {
        "ChunkStorageMetadata": lambda: chunk(offsets=size, sizes=size),
        "TensorStorageMetadata": lambda: session.tool("TensorStorageMetadata")(
            properties=properties(), size=size, chunks=[chunk(size, size)]
        ),
        "BytesStorageMetadata": lambda: session.tool("BytesStorageMetadata")(),
        "Metadata": lambda: session.tool("Metadata")(state_dict_metadata={}),
        "MetadataIndex": lambda: session.tool("MetadataIndex")(fqn="x"),
    }
    attempts = {name: session.attempt(into_subject, make) for name, make in made.items()}
    return [f"{name}: {attempt.error.text}" for name, attempt in attempts.items() if attempt.error is not None]


def index_equalities(session: Session) -> dict[str, bool]:
    """Report which of the promised equalities of indices hold."""
    index = session.tool("MetadataIndex")
    pairs = {
        "a hint": (index("x", [0, 1], index=3), index("x", [0, 1]), True),
        "different hints": (index("x", [0], index=1), index("x", [0], index=2), True),
        "list and Size": (index("x", [1, 2]), index("x", torch.Size([1, 2])), True),
        "another offset": (index("x", [0]), index("x", [1]), False),
        "another name": (index("x", [0]), index("y", [0]), False),
        "no offset": (index("x"), index("x", [0]), False),
    }
    return {name: (a == b) is same and (hash(a) == hash(b) or not same) for name, (a, b, same) in pairs.items()}


def lookups(session: Session) -> dict[str, Any]:
    """Shards that look-ups find by good, bad and missing hints, and which impossible look-ups raise ValueError."""
    find, index = session.tool("find_state_dict_object"), session.tool("MetadataIndex")
    shards = [LocalShard(coded(n, (2,), version=1), ShardMetadata([2 * n], [2], "rank:0/cpu")) for n in range(2)]
    state = {"s": init_from_local_shards(shards, 4), "t": coded(5, (3,), version=1), "o": [1]}
    good = {
        "without a hint": index("s", [2]), "with a good hint": index("s", [2], index=1),
        "with the hint of another shard": index("s", [2], index=0),
        "with a hint out of range": index("s", [2], index=99),
    }  # fmt: skip
    found = {name: differences(shards[1].tensor, into_subject(find, state, at)) for name, at in good.items()}
    found["of a plain tensor"] = differences(state["t"], into_subject(find, state, index("t", [0])))
    found["of an object"] = differences([1], into_subject(find, state, index("o")))
    bad = {
        "of a ShardedTensor without an offset": index("s"), "by an unknown offset": index("s", [1]),
        "of a plain tensor by an unknown offset": index("t", [1]), "of an unknown name": index("nothing"),
        "of an object by an offset": index("o", [0]),
    }  # fmt: skip
    return {
        "found": found,
        "refused": {name: session.attempt(into_subject, find, state, at) for name, at in bad.items()},
    }


def pickled_properties(session: Session, memory_format: str) -> bool:
    """Tell whether tensor properties with a memory format come back equal from a pickle."""
    named = getattr(torch, memory_format)
    properties = into_subject(session.tool("TensorProperties"), dtype=torch.float16, memory_format=named)
    copy = into_subject(pickle.loads, into_subject(pickle.dumps, properties))
    return copy == properties and copy.memory_format is named and copy.dtype is torch.float16


def identities(session: Session) -> dict[str, Any]:
    """Return the storage metadata of two saves through one writer and of two loads of the first; None without any.

    Each as {"id", "save", "load"}.
    """
    first, second = session.new_id("first"), session.new_id("second")
    writer, given, stored, returned = session.writer(first), [], [], []
    for checkpoint_id in (first, second):
        writer.reset(checkpoint_id)
        given.append(_identity(writer.storage_meta()))
        returned.append(_identity(drive_save(writer, {"t": coded(1, (2,), version=1)}).storage_meta))
    for checkpoint_id in (first, second, first):
        stored.append(_identity(session.reader(checkpoint_id).read_metadata().storage_meta))
    if given[0] is None and stored[0] is None:
        session.excuse("the backend supplies no storage metadata")
    names = [str(checkpoint_id).rstrip("/").rpartition("/")[2] for checkpoint_id in (first, second)]
    return {"given": given, "stored": stored, "returned": returned, "names": names}


def planner_data(session: Session) -> dict[str, Any] | None:
    """Return the data that a planner put into the metadata and what a load planner got of it.

    None where save takes none.
    """
    if not (session.takes("save", "planner") and session.takes("load", "planner")):
        return None
    save_kind, load_kind = session.tool("DefaultSavePlanner"), session.tool("DefaultLoadPlanner")
    # What JSON can hold too: a store that keeps metadata so, and refuses or renders other data, loses nobody's values.
    own = [{"rank": rank, "list": [rank, 2.5, None, True, "text"]} for rank in range(session.world_size)]
    got: list[Any] = []

    class Saving(save_kind):  # type: ignore[misc, valid-type]
        def create_global_plan(self, all_plans: list[Any]) -> Any:
            plans, metadata = super().create_global_plan(all_plans)
            return plans, dataclasses.replace(metadata, planner_data={"own": own, "default": metadata.planner_data})

    class Loading(load_kind):  # type: ignore[misc, valid-type]
        def set_up_planner(self, state_dict: Any, metadata: Any = None, is_coordinator: bool = False) -> None:
            got.append(metadata.planner_data)
            super().set_up_planner(state_dict, metadata, is_coordinator)

    state, target = {"t": coded(1, (3,), version=1)}, {"t": torch.zeros(3, dtype=torch.float64)}
    session.save(state, session.new_id(), planner=Saving())
    session.load(target, session.new_id(), planner=Loading())
    found = got[-1].get("own") if isinstance(got[-1], dict) else got[-1]
    return {"put": plain(own), "got": plain(found), "differences": differences(state, target)}


def listed(session: Session) -> dict[str, Any]:
    """List a checkpoint with a reader that cannot read data, and again when the data is gone."""
    state = {"a": coded(1, (4, 5), version=1), "b": coded(2, (3,), version=1, dtype=torch.float32)}
    checkpoint_id = session.new_id()
    drive_save(session.writer(checkpoint_id), state)
    reader = session.reader(checkpoint_id, faults=(Fault(phase="read_data", ranks=(session.rank,)),))
    found = {"with read_data failing": entries(reader.read_metadata())}
    if not {"torch_format", "stored_bytes"} & set(session.storage.unsupported):
        blobs = session.blobs(checkpoint_id)
        assert blobs is not None
        for name in blobs.names():
            if not name.endswith(".metadata"):
                blobs.delete(name)
        found["after its data files were removed"] = entries(session.reader(checkpoint_id).read_metadata())
    return found


def logged_ids(session: Session) -> dict[str, Any] | None:
    """Report the ids that planners are given: by the writer at a save, in the metadata at a load; None without any."""
    checkpoint_id, seen = session.new_id(), dict[str, Any]()

    class Saving(DefaultSavePlanner):
        def set_up_planner(self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False) -> None:
            seen["save"] = _identity(storage_meta)
            super().set_up_planner(state_dict, storage_meta, is_coordinator)

    class Loading(DefaultLoadPlanner):
        def set_up_planner(self, state_dict: Any, metadata: Any = None, is_coordinator: bool = False) -> None:
            seen["load"] = _identity(None if metadata is None else metadata.storage_meta)
            super().set_up_planner(state_dict, metadata, is_coordinator)

    state = {"t": coded(1, (3,), version=1)}
    drive_save(session.writer(checkpoint_id), state, planner=Saving())
    drive_load(session.reader(checkpoint_id), blank(state), planner=Loading())
    return seen if any(seen.values()) else None


def _identity(meta: Any) -> dict[str, str | None] | None:
    if meta is None:
        return None
    fields = {"id": "checkpoint_id", "save": "save_id", "load": "load_id"}
    values = {name: getattr(meta, field, None) for name, field in fields.items()}
    return {name: None if value is None else str(value) for name, value in values.items()}


def _pieces(metadata: Metadata) -> dict[str, Any]:
    described, stored = [], []
    for key, entry in metadata.state_dict_metadata.items():
        if isinstance(entry, TensorStorageMetadata):
            described += [(key, tuple(chunk.offsets)) for chunk in entry.chunks]
        elif isinstance(entry, BytesStorageMetadata):
            described.append((key, ()))
    for index in metadata.storage_data:
        stored.append((index.fqn, tuple(index.offset or ())))
    return {"described": sorted(described), "stored": sorted(stored)}
