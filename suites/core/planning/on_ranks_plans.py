"""Plan values of every kind, as plain data, and save them through planners that do as the documentation shows."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch
from torch.distributed._shard.metadata import ShardMetadata
from torch.distributed._shard.sharded_tensor import Shard as LocalShard
from torch.distributed._shard.sharded_tensor import init_from_local_shards
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Shard, distribute_tensor

from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.checklist import SHAPES
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.described import entries
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.driving import drive_load, drive_save
from dcp_conformance.harness.subject.session import Session, into_subject

ROWS = 8  # of each rank, in tensors sharded along the first dimension
EMPTY_SIZES = (0, 1, 2, 5)  # first dimensions that leave some of three ranks without elements
STATE_MIB = 64  # of the state whose planning is weighed


def planned(session: Session, kind: str) -> list[dict[str, Any]]:
    """Return the items of this rank's local plan for one value under the key `x`."""
    values = {
        "tensor": lambda: coded(1, (10,), version=1, dtype=torch.float32),
        "sharded": lambda: _sharded_tensor(session),
        "dtensor": lambda: _on_first_two_ranks(session),
        "object": lambda: [1, 2, 3],
    }
    planner, value = session.tool("DefaultSavePlanner")(flatten_state_dict=False), values[kind]()  # type: ignore[no-untyped-call]
    into_subject(planner.set_up_planner, {"x": value}, None, session.rank == 0)
    items = [described(item) for item in into_subject(planner.create_local_plan).items]
    if kind == "dtensor":
        torch.distributed.barrier()  # a rank that ends the mesh's group early fails those that are still joining it
        if value.device_mesh.get_coordinate() is not None:
            torch.distributed.destroy_process_group(value.device_mesh.get_group())
    return items


def described(item: Any) -> dict[str, Any]:
    """Return a write item as plain data."""
    data = item.tensor_data
    found = {
        "type": item.type.name,
        "key": item.index.fqn,
        "offset": None if item.index.offset is None else tuple(item.index.offset),
    }
    if data is None:
        return {**found, "data": False}
    return {
        **found, "data": True, "chunk": (tuple(data.chunk.offsets), tuple(data.chunk.sizes)), "size": tuple(data.size),
        "dtype": str(data.properties.dtype),
    }  # fmt: skip


def own_key_of_each_rank(session: Session) -> list[Difference]:
    """Save on each rank an object and a tensor that only it has, and load them back."""
    rank = session.rank
    state: dict[str, Any] = {f"t{rank}": coded(rank, (3,), version=1)}
    if "objects" not in session.storage.unsupported:
        state[f"k{rank}"] = rank
    target = blank(state)
    session.save(state, session.new_id())
    session.load(target, session.new_id())
    return differences(state, target)


def hundreds_of_each_rank(session: Session, count: int) -> list[Difference]:
    """Each rank saves many small tensors and objects that only it has; all load those of all."""
    own = [_many_of(session, rank, count) for rank in range(session.world_size)]
    everything = {key: item for part in own for key, item in part.items()}
    target = blank(everything)
    session.save(own[session.rank], session.new_id())
    session.load(target, session.new_id())
    return differences(everything, target)


def _many_of(session: Session, rank: int, count: int) -> dict[str, Any]:
    state: dict[str, Any] = {
        f"t{rank}.{place}": coded(rank * count + place, (1 + place % 3,), version=1) for place in range(count)
    }
    if "objects" not in session.storage.unsupported:
        state |= {f"k{rank}.{place}": (rank, place) for place in range(count // 10)}
    return state


class InTwoHalves(torch.Tensor):
    """A tensor of one dimension that plans, finds and fills its halves by itself, through the checkpointable hooks."""

    @staticmethod
    def of(values: torch.Tensor) -> InTwoHalves:
        """Return the tensor that holds `values`, which have an even length."""
        found = torch.Tensor._make_subclass(InTwoHalves, values)
        found.halves, found.used = list(values.clone().chunk(2)), []
        return found

    halves: list[torch.Tensor]
    used: list[str]

    def __create_write_items__(self, fqn: str, object: Any) -> list[WriteItem]:
        self.used.append("plan")
        whole, properties = self.size(), TensorProperties(dtype=self.dtype)
        return [
            WriteItem(
                index=MetadataIndex(fqn, chunk.offsets), type=WriteItemType.SHARD,
                tensor_data=TensorWriteData(chunk=chunk, properties=properties, size=whole),
            )
            for chunk in self.__create_chunk_list__()
        ]  # fmt: skip

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        half = self.size()[0] // 2
        return [ChunkStorageMetadata(torch.Size([start]), torch.Size([half])) for start in (0, half)]

    def __get_tensor_shard__(self, index: MetadataIndex) -> torch.Tensor:
        self.used.append("find")
        assert index.offset is not None
        return self.halves[0 if index.offset[0] == 0 else 1]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def hooks(session: Session) -> dict[str, Any]:
    """Return the plan of a value with the checkpointable hooks, what a lookup finds, and a round trip through them."""
    values = coded(1, (6,), version=1)
    tensor, target = InTwoHalves.of(values), InTwoHalves.of(coded(1, (6,), version=2))
    planner = session.tool("DefaultSavePlanner")()
    into_subject(planner.set_up_planner, {"x": tensor}, None, True)
    items = into_subject(planner.create_local_plan).items
    resolved = [into_subject(planner.resolve_data, item) for item in items]
    found: dict[str, Any] = {"items": [described(item) for item in items], "used": list(tensor.used)}
    found["resolved"] = differences(list(values.chunk(2)), resolved)
    session.save({"x": tensor}, session.new_id())
    session.load({"x": target}, session.new_id())
    found["loaded"] = differences(list(values.chunk(2)), target.halves)
    return found


class CountsPickling:
    """An object that counts how often it was pickled."""

    pickled = 0

    def __reduce__(self) -> Any:
        CountsPickling.pickled += 1
        return CountsPickling, ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CountsPickling)

    __hash__ = None  # type: ignore[assignment]


def cost_of_planning(session: Session) -> dict[str, Any]:
    """Report how far memory and picklings went up from the call of save to write_data."""
    if session.storage.writer is None or not session.takes("save", "storage_writer"):
        session.excuse("the engine takes no storage, so the end of planning cannot be seen")
    seen: dict[str, Any] = {}

    class Weigh:
        def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
            seen.setdefault("peak", _peak())
            seen.setdefault("pickled", CountsPickling.pickled)
            return inner(*args, **kwargs)

    state: dict[str, Any] = {"big": torch.zeros(STATE_MIB << 18, dtype=torch.float32).fill_(1.0)}
    if "objects" not in session.storage.unsupported:
        state["counted"] = CountsPickling()
    checkpoint_id, CountsPickling.pickled = session.new_id(), 0
    writer = interpose(session.writer(checkpoint_id), ("write_data",), Weigh())
    session.save({"warm": state["big"][:4]}, session.new_id("warm"))
    before = _forget_peak()
    session.save(state, checkpoint_id, writer=writer)
    return {"mib": (seen["peak"] - before) / 2**20, "pickled": seen["pickled"]}


def rewritten(session: Session, how: str) -> list[Difference]:
    """Make a round trip through a planner that renames keys or halves the precision."""
    if not session.takes("save", "planner"):
        session.excuse("save takes no planner")
    kind = session.tool("DefaultSavePlanner")
    state, planners = (
        {"a": coded(1, (4,), version=0), "b": coded(2, (2, 2), version=0)},
        {"prefix": _prefixing, "half": _halving},
    )
    wanted = (
        {f"foo_{key}": value for key, value in state.items()}
        if how == "prefix"
        else {k: v.half() for k, v in state.items()}
    )
    target = blank(wanted)
    session.save(state, session.new_id(), planner=planners[how](kind)())
    session.load(target, session.new_id())
    return differences(wanted, target)


def partial_sums(session: Session) -> Attempt:
    """Report how a save of a DTensor that still holds partial sums ends."""
    mesh = init_device_mesh("cpu", (session.world_size,))
    tensor = DTensor.from_local(coded(1, (4,), version=1), mesh, [Partial()], run_check=False)
    return session.attempt(session.save, {"p": tensor}, session.new_id())


def load_partial_sums(session: Session) -> Attempt:
    """Report how a load of that id ends."""
    return session.attempt(session.load, {"p": torch.zeros(4, dtype=torch.float64)}, session.new_id())


def prepared_plan(session: Session) -> dict[str, Any]:
    """Report a plan of items of all kinds before and after prepare_local_plan, and what a round trip gives."""
    mesh = init_device_mesh("cpu", (1,))
    state: dict[str, Any] = {
        "matrix": coded(1, (4, 5), version=1), "scalar": coded(2, (), version=1), "empty": coded(3, (0, 3), version=1),
        "dtensor": distribute_tensor(coded(4, (6, 2), version=1), mesh, [Shard(0)]),
        "vector": coded(5, (7,), version=1),
    }  # fmt: skip
    if "objects" not in session.storage.unsupported:
        state["object"] = {"step": 3}
    seen: dict[str, Any] = {}

    class Look:
        def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
            given = [*args, *kwargs.values()][0]
            seen["before"] = [described(item) for item in given.items]
            plan = inner(*args, **kwargs)
            seen["after"] = [described(item) for item in plan.items]
            return plan

    checkpoint_id = session.new_id()
    drive_save(interpose(session.writer(checkpoint_id), ("prepare_local_plan",), Look()), state)
    plain = {
        key: item.to_local() if isinstance(item, DTensor) else item for key, item in state.items() if key != "object"
    }
    target: dict[str, Any] = {**blank(plain), **({"object": {"step": None}} if "object" in state else {})}
    drive_load(session.reader(checkpoint_id), target)
    wanted = {**plain, **({"object": {"step": 3}} if "object" in state else {})}
    return {**seen, "differences": differences(wanted, target)}


def unusual_shapes(session: Session) -> dict[str, Any]:
    """Report what the metadata says of tensors without elements and without dimensions, and what a round trip gives."""
    state = {f"s{number}": coded(number, shape, version=1) for number, shape in enumerate(SHAPES)}
    target = blank(state)
    metadata = session.save_and_describe(state, session.new_id())
    session.load(target, session.new_id())
    return {"entries": entries(metadata), "shapes": dict(enumerate(SHAPES)), "differences": differences(state, target)}


def empty_shards(session: Session) -> dict[str, Any]:
    """DTensors that leave some ranks without elements: the local plan, where it can be seen, and a round trip."""
    mesh = init_device_mesh("cpu", (session.world_size,))
    whole = {f"rows{rows}": coded(rows, (rows, 2), version=1) for rows in EMPTY_SIZES}
    state = {key: distribute_tensor(value, mesh, [Shard(0)]) for key, value in whole.items()}
    target = {key: distribute_tensor(torch.full_like(value, -1), mesh, [Shard(0)]) for key, value in whole.items()}
    session.save(state, session.new_id())
    session.load(target, session.new_id())
    found: dict[str, Any] = {
        "differences": differences(state, target),
        "local": {k: tuple(v.to_local().shape) for k, v in state.items()},
    }
    planner = session.tool("DefaultSavePlanner")()
    into_subject(planner.set_up_planner, state, None, session.rank == 0)
    found["items"] = [described(item) for item in into_subject(planner.create_local_plan).items]
    return found


def load_empty_shards(session: Session) -> list[Difference]:
    """Load the whole tensors of `empty_shards` by one process."""
    wanted = {f"rows{rows}": coded(rows, (rows, 2), version=1) for rows in EMPTY_SIZES}
    target = {key: torch.full_like(value, -1) for key, value in wanted.items()}
    session.load(target, session.new_id())
    return differences(wanted, target)


def _sharded_tensor(session: Session) -> Any:
    local = coded(session.rank, (ROWS, 4), version=1, dtype=torch.float32)
    place = ShardMetadata([ROWS * session.rank, 0], [ROWS, 4], f"rank:{session.rank}/cpu")
    return init_from_local_shards([LocalShard(local, place)], ROWS * session.world_size, 4)


def _on_first_two_ranks(session: Session) -> DTensor:
    mesh = DeviceMesh("cpu", [0, 1])
    return DTensor.from_local(
        coded(session.rank, (ROWS, 4), version=1, dtype=torch.float32), mesh, [Shard(0)], run_check=False
    )


def _prefixing(kind: Any) -> Any:
    class Prefixing(kind):  # type: ignore[misc]
        def set_up_planner(self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False) -> None:
            super().set_up_planner(
                {f"foo_{key}": value for key, value in state_dict.items()}, storage_meta, is_coordinator
            )

    return Prefixing


def _halving(kind: Any) -> Any:
    class Halving(kind):  # type: ignore[misc]
        def create_local_plan(self) -> Any:
            plan = super().create_local_plan()
            self.plan = dataclasses.replace(plan, items=[_halved(item) for item in plan.items])
            return self.plan

        def resolve_data(self, write_item: Any) -> Any:
            data = super().resolve_data(write_item)
            return data if write_item.type is WriteItemType.BYTE_IO else data.half()

    return Halving


def _halved(item: Any) -> Any:
    if item.tensor_data is None:
        return item
    properties = dataclasses.replace(item.tensor_data.properties, dtype=torch.float16)
    return dataclasses.replace(item, tensor_data=dataclasses.replace(item.tensor_data, properties=properties))


def _peak() -> int:
    """Return the highest memory of this process since `_forget_peak`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _forget_peak() -> int:
    """Let the peak begin at what is in use now, and return that."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
