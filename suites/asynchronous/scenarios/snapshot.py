"""Change everything that can be changed while a save is under way."""

from __future__ import annotations

import copy
import io
import threading
from typing import Any

import numpy
import torch
from torch.distributed.checkpoint.staging import AsyncStager

from harness.faults.fault import Fault
from harness.scenarios.compare import differences
from harness.scenarios.values import blank, coded
from harness.session import Session, into_subject
from harness.spec import Difference
from suites.asynchronous.scenarios.stagers import LateStager, futures

# Long enough that a save which reads its values late, reads the changed ones.
SLOW = 0.3
ALL = tuple(range(64))


class Box:
    """An object of a class that no engine knows, with something in it that can change."""

    def __init__(self, content: list[int]) -> None:
        self.content = content


def mutate_after_staging(session: Session, kind: str) -> list[Difference] | None:
    """async_save with a slow writer, change every value as soon as staging is complete, wait, load, compare.

    kind: `default`: the engine's own stager, made by hand; `late`: the same copy, made in a thread; `writer`: no stager
    is passed, and the writer is one (None where it is none).
    """
    checkpoint_id, slow = session.new_id(), Fault(phase="write_data", ranks=ALL, kind="delay", seconds=SLOW)
    writer = session.writer(checkpoint_id, faults=(slow,))
    if kind == "writer" and not isinstance(writer, AsyncStager):
        return None
    # The engine's own stager, if it has one that can be made by hand.
    own = session.stager() if kind != "writer" else None
    stager = LateStager(own.stage if own is not None else copy.deepcopy) if kind == "late" else own
    state, wanted = _mutable_state(session), _mutable_state(session)
    staged, uploaded = futures(session.async_save(state, checkpoint_id, writer=writer, async_stager=stager))
    if staged is not None:
        into_subject(staged.result, 30)
    _mutate(session, state)
    into_subject(uploaded.result, 30)
    target = blank(wanted)
    session.load(target, checkpoint_id)
    if own is not None:
        own.close()
    return differences(_plain(wanted), _plain(target))


def sharded_values(session: Session) -> list[Difference]:
    """A DTensor and a ShardedTensor, whose local parts change after the call has returned."""
    from torch.distributed._shard import sharded_tensor
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    whole, mesh = coded(7, (8, 3), version=1), init_device_mesh("cpu", (session.world_size,))
    rows = whole.chunk(session.world_size)
    first = sum(len(part) for part in rows[: session.rank])
    metadata = sharded_tensor.ShardMetadata([first, 0], list(rows[session.rank].shape), f"rank:{session.rank}/cpu")
    shard = sharded_tensor.Shard(rows[session.rank].clone(), metadata)
    state: dict[str, Any] = {
        "d": distribute_tensor(whole, mesh, [Shard(0)]),
        "s": sharded_tensor.init_from_local_shards([shard], 8, 3),
    }
    checkpoint_id, slow = session.new_id(), Fault(phase="write_data", ranks=ALL, kind="delay", seconds=SLOW)
    # Whatever stages when nobody asks for a stager: torch's DefaultStager itself knows no ShardedTensor.
    staged, uploaded = futures(session.async_save(state, checkpoint_id, faults=(slow,)))
    if staged is not None:
        into_subject(staged.result, 30)
    state["d"].to_local().fill_(-7)
    shard.tensor.fill_(-7)
    into_subject(uploaded.result, 30)
    target = {"d": torch.full_like(whole, -1), "s": torch.full_like(whole, -1)}
    session.load(target, checkpoint_id)
    return differences({"d": whole, "s": whole}, target)


def save_and_load_in_a_thread(session: Session) -> list[Difference]:
    """Construct writer and reader here, use them in a second thread."""
    checkpoint_id, state = session.new_id(), {"t": coded(1, (64,), version=1), "u": coded(2, (3, 3), version=1)}
    writer, reader, target = session.writer(checkpoint_id), session.reader(checkpoint_id), blank(state)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            session.save(state, checkpoint_id, writer=writer)
            session.load(target, checkpoint_id, reader=reader)
        except BaseException as error:  # carried to the thread that reports
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return differences(state, target)


def _mutable_state(session: Session) -> dict[str, Any]:
    own: dict[str, Any] = {"tensor": coded(session.rank, (256,), version=1)}
    if "objects" in session.storage.unsupported:
        return {f"of rank {session.rank}": own}
    own["number"] = 5
    return {
        f"of rank {session.rank}": own,
        "list": [1, 2, 3],
        "dict": {"a": {"b": 1}},
        "blob": io.BytesIO(b"version 1"),
        "set": {1, 2},
        "array": numpy.arange(6),
        "object": Box([1, 2]),
        "tuple": ([1, 2], {"c": 3}),
    }


def _mutate(session: Session, state: dict[str, Any]) -> None:
    own = state[f"of rank {session.rank}"]
    own["tensor"].fill_(-7)
    if "list" not in state:
        return
    own["number"] = -7
    state["list"][:] = [-7]
    state["dict"]["a"]["b"] = -7
    state["blob"].seek(0)
    state["blob"].write(b"VERSION 2")
    state["set"].clear()
    state["array"][:] = -7
    state["object"].content.append(-7)
    state["tuple"][0].append(-7)
    state["tuple"][1]["c"] = -7
    state["new"] = -7


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """With arrays and boxes as lists, which can be compared."""
    plain = {"array": lambda item: item.tolist(), "object": lambda item: item.content}
    return {key: plain[key](item) if key in plain and item is not None else item for key, item in state.items()}
