"""Saves whose data, layout or options are unusual: what is stored, and what the save does to its source."""

from __future__ import annotations

import copy
import hashlib
import io
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern, resolved
from dcp_conformance.harness.subject.relay import Name, Recorder, load_planner, save_planner
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.harness.subject.writer_options import option_sets

# So long does one piece of data take where a planner is slow.
SLOW = 0.2
MANY_ELEMENTS = 10**6


def mixed_state(session: Session, *, version: int = 1) -> dict[str, Any]:
    """Return the tensors of several shapes for each rank, and objects where the backend stores any."""
    state: dict[str, Any] = {
        f"rank{session.rank}.{name}": coded(key, shape, version=version)
        for key, (name, shape) in enumerate({"vector": (64,), "matrix": (5, 7), "scalar": (), "nothing": (0,)}.items())
    }
    state["layers"] = [
        pattern("a", (9,), torch.float32, version=version),
        pattern("b", (3, 3), torch.int16, version=version),
    ]
    if "objects" not in session.storage.unsupported:
        state |= {
            f"rank{session.rank}.step": version,
            "name": f"version {version}",
            "betas": (0.9, 0.999),
            "set": {1, 2},
        }
    return state


def recorded_save(session: Session) -> tuple[list[Name], list[Name] | None, list[Difference], list[Difference]]:
    """Names planned and names reported; what the save changed in its source; what a load gives otherwise."""
    checkpoint_id, state, recorder = session.new_id(), mixed_state(session), Recorder()
    kept = copy.deepcopy(state)
    session.save(state, checkpoint_id, writer=recorder.around(session.writer(checkpoint_id)))
    target = blank(kept)
    session.load(target, checkpoint_id)
    return recorder.planned, recorder.reported, differences(kept, state), differences(kept, target)


def resolve_late_and_changed(session: Session) -> tuple[int, int, list[Difference]]:
    """Save through a planner that gives other tensors than those in the state, one of them slowly.

    Returns how often it was asked for data before write_data began and in all, and what a load gives otherwise.
    """
    checkpoint_id, recorder, asked = session.new_id(), Recorder(), []
    state = {f"t{number}": coded(number, (16,), version=1) for number in range(4)}
    wanted = {f"t{number}": coded(number, (16,), version=2) for number in range(4)}

    def resolve(item: Any, data: Any) -> Any:
        asked.append(recorder.writing_began is not None)
        if item.index.fqn == "t2":
            time.sleep(SLOW)
        return wanted[item.index.fqn].clone()

    writer = recorder.around(session.writer(checkpoint_id))
    session.save(state, checkpoint_id, writer=writer, planner=save_planner(session, resolve))
    target = blank(wanted)
    session.load(target, checkpoint_id)
    return asked.count(False), len(asked), differences(wanted, target)


def buffers_at_any_position(session: Session) -> list[Difference]:
    """Objects whose buffers stand at their start, middle and end; what arrives at load_bytes otherwise."""
    checkpoint_id = session.new_id()
    stored: dict[str, bytes] = {}
    arrived: dict[str, bytes] = {}
    state = {"at start": list(range(50)), "in middle": "x" * 300, "at end": {"nested": [1.5, None]}}
    state = {place: (place, value) for place, value in state.items()}

    def resolve(item: Any, data: Any) -> Any:
        buffer = io.BytesIO(data.getvalue())
        length = len(stored.setdefault(item.index.fqn, buffer.getvalue()))
        buffer.seek({"at start": 0, "in middle": length // 2, "at end": length}[item.index.fqn])
        return buffer

    def seen(item: Any, value: Any) -> None:
        # As a stream: a reader need not have the bytes in a buffer.
        arrived[item.dest_index.fqn] = value.read()
        value.seek(0)

    session.save(state, checkpoint_id, planner=save_planner(session, resolve))
    target = blank(state)
    session.load(target, checkpoint_id, planner=load_planner(session, seen))
    found = differences(_digests(stored), _digests(arrived))
    return found or differences(state, target)


def _digests(contents: dict[str, bytes]) -> dict[str, str]:
    return {
        name: f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:12]}" for name, data in contents.items()
    }


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(2, 3, 4, 5).to(memory_format=torch.channels_last)


def _channels_last_3d(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(2, 3, 4, 5, 1).to(memory_format=torch.channels_last_3d)


# From a dense float32 tensor of 120 elements.
LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "transposed": lambda dense: dense.reshape(10, 12).t(),
    "strided": lambda dense: dense[::3],
    "offset": lambda dense: dense[17:53],
    "column": lambda dense: dense.reshape(10, 12)[:, 3],
    "expanded": lambda dense: dense[:6].reshape(6, 1).expand(6, 4),
    "expanded_scalar": lambda dense: dense[5].expand(3, 2),
    "flipped": lambda dense: dense.flip(0),
    "channels_last": _channels_last,
    "channels_last_3d": _channels_last_3d,
    "permuted": lambda dense: dense.reshape(2, 3, 20).permute(2, 0, 1),
    "unfolded": lambda dense: dense.unfold(0, 5, 2),
    "conjugated": lambda dense: torch.view_as_complex(dense.reshape(60, 2)).conj(),
    "negated": lambda dense: torch.view_as_complex(dense.reshape(60, 2)).conj().imag,
    "dense_negated": torch._neg_view,
    "narrow_negated": lambda dense: torch.view_as_complex(dense.reshape(60, 2)).conj().imag[7:9],
}


def layout_round_trip(session: Session, layout: str) -> list[Difference]:
    """Load one tensor of a layout into a dense target."""
    if layout == "conjugated" and "exotic_dtypes" in session.storage.unsupported:
        session.excuse("the layout needs a complex dtype, which the backend opted out of")
    checkpoint_id = session.new_id()
    tensor = LAYOUTS[layout](coded(0, (120,), version=0, dtype=torch.float32) + 0.5)
    wanted = {"t": resolved(tensor)}
    target = blank(wanted)
    session.save({"t": tensor}, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(wanted, target)


def layouts_of_one_memory(session: Session) -> list[Difference]:
    """Save tensors that begin at one address and have as many elements: only layout and lazy bits differ."""
    square = coded(0, (144,), version=0, dtype=torch.float32).reshape(12, 12) + 0.5
    tensors = {"rows": square, "columns": square.t(), "flat": square.view(-1), "negated": torch._neg_view(square)}
    if "exotic_dtypes" not in session.storage.unsupported:
        complex_one = torch.view_as_complex(square.reshape(72, 2))
        tensors |= {"complex": complex_one, "conjugated": complex_one.conj(), "bits": square.view(torch.int32)}
    wanted = {name: resolved(item) for name, item in tensors.items()}
    checkpoint_id, target = session.new_id(), blank(wanted)
    session.save(tensors, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(wanted, target)


def stored_bytes_of_view(session: Session) -> tuple[int, int]:
    """Stored bytes of a view of one element into a large buffer, and of a clone of it; None without access to them."""
    view = coded(1, (MANY_ELEMENTS,), version=0, dtype=torch.float32)[123:124]
    sizes = []
    for name, tensor in (("view", view), ("clone", view.clone())):
        checkpoint_id = session.new_id(name)
        session.save({"t": tensor}, checkpoint_id)
        blobs = session.blobs(checkpoint_id)
        if blobs is None:
            session.give_up("the stored bytes cannot be reached")
        sizes.append(sum(len(blobs.read(blob)) for blob in blobs.names()))
    return sizes[0], sizes[1]


def every_option_set(session: Session) -> list[tuple[str, Attempt, list[Difference]]]:
    """For each option set that is tried: how a save and load went, and what the load gives otherwise."""
    seen = []
    for number, options in enumerate(option_sets(session)):
        state, checkpoint_id = mixed_state(session, version=number + 1), session.new_id(f"set{number}")
        target = blank(state)

        def save_and_load(
            state: Any = state, target: Any = target, checkpoint_id: Any = checkpoint_id, options: Any = options
        ) -> None:
            session.save(state, checkpoint_id, writer=session.writer(checkpoint_id, **options))
            session.load(target, checkpoint_id)

        attempt = session.attempt(save_and_load)
        seen.append((str(dict(options)), attempt, differences(state, target) if attempt.ok else []))
    return seen


def save_with_failed_future(session: Session, fault: Fault) -> Attempt:
    """Report how a save ended whose write future failed."""
    return session.attempt(session.save, mixed_state(session), session.new_id(), faults=(fault,))


def idle_rank(session: Session, busy: int) -> list[Difference]:
    """Only rank `busy` has anything to save; then every rank loads it."""
    checkpoint_id = session.new_id(f"busy{busy}")
    state = {f"t{number}": coded(number, (32,), version=1) for number in range(3)} | {"n": coded(9, (), version=1)}
    session.save(state if session.rank == busy else {}, checkpoint_id)
    target = blank(state)
    session.load(target, checkpoint_id)
    return differences(state, target)


def staggered_ranks(session: Session, descending: bool) -> list[Difference]:
    """Each rank stores its own names and its shard of one tensor, one after the other; every rank loads all."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    checkpoint_id, ranks = session.new_id(f"descending{descending}"), range(session.world_size)
    place = session.world_size - 1 - session.rank if descending else session.rank
    late = Fault(phase="write_data", ranks=(session.rank,), kind="delay", seconds=0.1 * place)
    mesh, whole = init_device_mesh("cpu", (session.world_size,)), coded(100, (13, 3), version=1)
    own = {f"own{session.rank}.{number}": coded(session.rank * 10 + number, (16,), version=1) for number in range(3)}
    session.save({**own, "shared": distribute_tensor(whole, mesh, [Shard(0)])}, checkpoint_id, faults=(late,))
    wanted = {
        f"own{rank}.{number}": coded(rank * 10 + number, (16,), version=1) for rank in ranks for number in range(3)
    }
    wanted["shared"] = whole
    target = blank(wanted)
    session.load(target, checkpoint_id)
    return differences(wanted, target)


def caller_thread() -> Callable[[], bool]:
    """A question: is this the thread on which caller_thread was called?"""
    caller = threading.get_ident()
    return lambda: threading.get_ident() == caller
