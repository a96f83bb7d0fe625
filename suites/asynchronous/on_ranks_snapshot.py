"""Change everything that can be changed while a save is under way."""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Callable
from typing import Any

import numpy
import torch
from torch.distributed.checkpoint.staging import AsyncStager

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.stagers import LateStager, futures
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.sharding import pieces, shards_of
from dcp_conformance.harness.states.values import blank, coded, resolved
from dcp_conformance.harness.subject.session import Session, into_subject

# Long enough that a save which reads its values late, reads the changed ones.
SLOW = 0.3
ALL = tuple(range(64))


class Box:
    """An object of a class that no engine knows, with something in it that can change."""

    def __init__(self, content: list[int]) -> None:
        self.content = content


def mutate_after_staging(session: Session, kind: str) -> list[Difference]:
    """async_save with a slow writer, change every value as soon as staging is complete, wait, load, compare.

    kind: `default`: the engine's own stager, made by hand; `late`: the same copy, made in a thread; `writer`: no stager
    is passed, and the writer is one (None where it is none).
    """
    checkpoint_id, slow = session.new_id(), Fault(phase="write_data", ranks=ALL, kind="delay", seconds=SLOW)
    seen = session.drives_storage
    given = {"writer": session.writer(checkpoint_id, faults=(slow,))} if seen else {}
    if kind == "writer" and not isinstance(given.get("writer"), AsyncStager):
        session.excuse("the writer is no stager")
    # The engine's own stager, if it has one that can be made by hand.
    own = session.stager() if kind != "writer" else None
    stager = LateStager(own.stage if own is not None else copy.deepcopy) if kind == "late" else own
    state, wanted = _mutable_state(session), _mutable_state(session)
    staged, uploaded = futures(session.async_save(state, checkpoint_id, async_stager=stager, **given))
    if staged is not None:
        into_subject(staged.result, 30)
    _mutate(session, state)
    into_subject(uploaded.result, 30)
    target = blank(wanted)
    session.load(target, checkpoint_id)
    if own is not None:
        own.close()
    return differences(_plain(wanted), _plain(target))


def mutate_views_after_staging(session: Session) -> list[Difference]:
    """Several views of each of two buffers, of which one is in the state; both change once staging is complete."""
    buffers = [coded(3, (24,), version=1), coded(4, (24,), version=1)]
    state = {"whole": buffers[0]}
    for number, base in enumerate(buffers):
        table = base.reshape(6, 4)
        views = {
            "transposed": table.t(), "part": table[1:3, 2:], "every other": base[1::2],
            "row": table[2].expand(3, 4), "bits": base[3:7].view(torch.int64), "scalar": table[5, 3],
        }  # fmt: skip
        if "layouts" in session.storage.unsupported:
            views = {key: view for key, view in views.items() if view.is_contiguous()}
        state |= {f"{key} of {number}": view for key, view in views.items()}
    wanted = {key: resolved(value) for key, value in state.items()}
    checkpoint_id, slow = session.new_id(), Fault(phase="write_data", ranks=ALL, kind="delay", seconds=SLOW)
    own = session.stager()
    given = {"faults": (slow,)} if session.drives_storage else {}
    staged, uploaded = futures(session.async_save(state, checkpoint_id, async_stager=own, **given))
    if staged is not None:
        into_subject(staged.result, 30)
    for base in buffers:
        base.fill_(-7)
    into_subject(uploaded.result, 30)
    target = blank(wanted)
    session.load(target, checkpoint_id)
    if own is not None:
        own.close()
    return differences(wanted, target)


def save_lazy_values(session: Session, stager: bool) -> list[Difference]:
    """Save tensors whose memory does not hold their elements as they are: conjugated, negated, reordered.

    stager: with the engine's own, given by the caller.
    """
    own = session.stager() if stager else None
    if stager and own is None:
        session.excuse("the engine has no stager that a caller could make")
    plain = coded(3, (24,), version=1) + 0.5
    numbers = torch.view_as_complex(plain.reshape(12, 2))
    state = {"negated": torch._neg_view(plain), "imaginary": numbers.conj().imag}
    if "layouts" not in session.storage.unsupported:
        state |= {"transposed": plain.reshape(4, 6).t(), "part": plain[1::3], "repeated": plain[2].expand(3)}
    if "exotic_dtypes" not in session.storage.unsupported:
        state |= {"numbers": numbers, "conjugated": numbers.conj(), "part of it": numbers.conj()[2:5]}
    wanted = {key: resolved(item) for key, item in state.items()}
    checkpoint_id, target = session.new_id(), blank(wanted)
    _staged, uploaded = futures(session.async_save(state, checkpoint_id, async_stager=own))
    into_subject(uploaded.result, 30)
    session.load(target, checkpoint_id)
    if own is not None:
        own.close()
    return differences(wanted, target)


def sharded_values(session: Session) -> list[Difference]:
    """DTensors and ShardedTensors, in several parts or none on a rank, that change after the call has returned."""
    from torch.distributed._shard import sharded_tensor
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    whole, mesh = coded(7, (8, 3), version=1), init_device_mesh("cpu", (session.world_size,))
    rows = whole.chunk(session.world_size)
    first = sum(len(part) for part in rows[: session.rank])
    metadata = sharded_tensor.ShardMetadata([first, 0], list(rows[session.rank].shape), f"rank:{session.rank}/cpu")
    shard = sharded_tensor.Shard(rows[session.rank].clone(), metadata)
    ends = [(0, (0, 0), (3, 3)), (1, (3, 0), (4, 3)), (0, (7, 0), (1, 3))]
    state: dict[str, Any] = {
        "d": distribute_tensor(whole, mesh, [Shard(0)]),
        "s": sharded_tensor.init_from_local_shards([shard], 8, 3),
        "row": distribute_tensor(whole[:1], mesh, [Shard(0)]),
        "of the first": shards_of(whole, [(0, (0, 0), (8, 3))]),
        "of the last": shards_of(whole, [(session.world_size - 1, (0, 0), (8, 3))]),
        "of two": shards_of(whole, ends),
    }
    wanted = {key: whole[:1] if key == "row" else whole for key in state}
    checkpoint_id, slow = session.new_id(), Fault(phase="write_data", ranks=ALL, kind="delay", seconds=SLOW)
    # Whatever stages when nobody asks for a stager: torch's DefaultStager itself knows no ShardedTensor.
    given = {"faults": (slow,)} if session.drives_storage else {}
    staged, uploaded = futures(session.async_save(state, checkpoint_id, **given))
    if staged is not None:
        into_subject(staged.result, 30)
    for piece in [piece for value in state.values() for piece in pieces(value)]:
        piece.fill_(-7)
    into_subject(uploaded.result, 30)
    target = {key: torch.full_like(value, -1) for key, value in wanted.items()}
    session.load(target, checkpoint_id)
    return differences(wanted, target)


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
        # What is larger than a buffer may be taken over without a copy.
        "large array": numpy.arange(100_000),
        "large blob": io.BytesIO(b"version 1 " * 50_000),
        "large bytes": bytearray(b"version 1 " * 50_000),
        "large list": list(range(50_000)),
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
    state["large array"][:] = -7
    state["large blob"].seek(0)
    state["large blob"].write(b"VERSION 2 " * 50_000)
    state["large bytes"][:] = b"VERSION 2 " * 50_000
    state["large list"][:] = [-7]
    state["object"].content.append(-7)
    state["tuple"][0].append(-7)
    state["tuple"][1]["c"] = -7
    state["new"] = -7


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """With arrays and boxes as lists, which can be compared."""
    plain: dict[str, Callable[[Any], Any]] = {
        "array": lambda item: item.tolist(),
        "large array": lambda item: item.tolist(),
        "object": lambda item: item.content,
    }
    return {key: plain[key](item) if key in plain and item is not None else item for key, item in state.items()}
