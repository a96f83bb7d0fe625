"""torch loads what this package wrote, and the reverse, at several world sizes and with other layouts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed._shard import sharded_tensor
from torch.distributed._shard.sharding_spec import ChunkShardingSpec, EnumerableShardingSpec, ShardMetadata
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy, StateDictType, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from dcp_conformance import reference_impl as ref
from tests.reference_impl.ranks import outcome, run_ranks

ENGINES: dict[str, Any] = {"ref": ref, "torch": dcp}
PAIRS = [("ref", "torch"), ("torch", "ref"), ("ref", "ref")]
FULL = torch.arange(35.0).reshape(7, 5)
LARGE = torch.arange(120_000.0).reshape(300, 400)


def placements(world: int) -> list[tuple[Any, list[Any]]]:
    line = init_device_mesh("cpu", (world,))
    found: list[tuple[Any, list[Any]]] = [(line, [Shard(0)]), (line, [Shard(1)]), (line, [Replicate()])]
    if world == 4:
        square = init_device_mesh("cpu", (2, 2))
        found += [(square, [Shard(0), Shard(1)]), (square, [Replicate(), Shard(0)]), (square, [Shard(0), Shard(0)])]
    return found


def sharded(world: int, value: torch.Tensor, spec: Any = None) -> Any:
    spec = spec or ChunkShardingSpec(0, [f"rank:{rank}/cpu" for rank in range(world)])
    made = sharded_tensor.empty(spec, *value.shape)
    for shard in made.local_shards():
        box = tuple(
            slice(o, o + n) for o, n in zip(shard.metadata.shard_offsets, shard.metadata.shard_sizes, strict=True)
        )
        shard.tensor.copy_(value[box])
    return made


def _save_layouts(rank: int, folder: str, engine: str, world: int) -> None:
    state: dict[str, Any] = {}
    for number, (mesh, places) in enumerate(placements(world)):
        state[f"f{number}"] = distribute_tensor(FULL, mesh, places)
        if number % 3 == 0:
            state[f"l{number}"] = distribute_tensor(LARGE, mesh, places)
    state["s"] = sharded(world, FULL)
    state["plain"] = FULL.clone()
    state[f"own{rank}"] = {"rank": rank}
    ENGINES[engine].save(state, checkpoint_id=folder)


def _load_layouts(rank: int, folder: str, engine: str, world: int, saved_world: int) -> None:
    count = 6 if saved_world == 4 else 3
    for mesh, places in placements(world)[1::2]:
        target: dict[str, Any] = {"s": sharded(world, torch.zeros_like(FULL)), "plain": torch.zeros_like(FULL)}
        for number in range(count):
            target[f"f{number}"] = distribute_tensor(torch.zeros_like(FULL), mesh, places)
            if number % 3 == 0:
                target[f"l{number}"] = distribute_tensor(torch.zeros_like(LARGE), mesh, places)
        target["own0"] = {"rank": -1}
        ENGINES[engine].load(target, checkpoint_id=folder)
        for name, value in target.items():
            expected = LARGE if name[0] == "l" else FULL
            if isinstance(value, DTensor):
                assert torch.equal(value.full_tensor(), expected), name
        for shard in target["s"].local_shards():
            start, count_rows = shard.metadata.shard_offsets[0], shard.metadata.shard_sizes[0]
            assert torch.equal(shard.tensor, FULL[start : start + count_rows])
        assert torch.equal(target["plain"], FULL) and target["own0"] == {"rank": 0}


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
@pytest.mark.parametrize(("saved", "loaded"), [(1, 2), (2, 4), (4, 2)])
def test_layouts_and_world_sizes(tmp_path: Path, writer: str, reader: str, saved: int, loaded: int) -> None:
    run_ranks(saved, _save_layouts, str(tmp_path), writer, saved)
    run_ranks(loaded, _load_layouts, str(tmp_path), reader, loaded, saved)


@pytest.mark.parametrize("engine", ["torch", "ref"])
def test_one_process_without_a_group_loads_what_ranks_saved(tmp_path: Path, engine: str) -> None:
    run_ranks(2, _save_layouts, str(tmp_path), "ref", 2)
    target: dict[str, Any] = {"f0": torch.zeros(7, 5), "s": torch.zeros(7, 5), "own1": {"rank": -1}}
    ENGINES[engine].load(target, checkpoint_id=tmp_path)
    assert torch.equal(target["f0"], FULL) and torch.equal(target["s"], FULL) and target["own1"] == {"rank": 1}


def _uneven(rank: int, folder: str) -> None:
    mesh = init_device_mesh("cpu", (3,))
    sizes = (0, 1, 2, 5)
    state: dict[str, Any] = {f"d{n}": distribute_tensor(torch.arange(float(n)), mesh, [Shard(0)]) for n in sizes}
    boxes = [ShardMetadata([0, 0], [2, 4], "rank:0/cpu"), ShardMetadata([2, 0], [2, 4], "rank:0/cpu")]
    state["two"] = sharded(3, torch.arange(16.0).reshape(4, 4), EnumerableShardingSpec(boxes))
    ref.save(state, checkpoint_id=folder)
    target: dict[str, Any] = {f"d{n}": torch.full((n,), -1.0) for n in sizes} | {"two": torch.zeros(4, 4)}
    if rank == 2:
        target = {}
    for engine in (ref, dcp):
        loaded = copy.deepcopy(target)
        engine.load(loaded, checkpoint_id=folder)
        for name, value in loaded.items():
            assert torch.equal(value.reshape(-1), torch.arange(float(value.numel()))), name
    again = {f"d{n}": distribute_tensor(torch.full((n,), -1.0), mesh, [Shard(0)]) for n in sizes}
    ref.load(again, checkpoint_id=folder)
    assert all(torch.equal(again[f"d{n}"].full_tensor(), torch.arange(float(n))) for n in sizes)


def test_uneven_empty_and_several_shards(tmp_path: Path) -> None:
    run_ranks(3, _uneven, str(tmp_path))


def _submesh(rank: int, folder: str) -> Any:
    from torch.distributed.device_mesh import DeviceMesh

    mesh = DeviceMesh("cpu", [0, 1])
    local = torch.arange(4.0) + 4 * rank
    value = DTensor.from_local(local, mesh, [Shard(0)], run_check=False)
    metadata = ref.save({"d": value}, checkpoint_id=folder)
    target = torch.zeros(8)
    ref.load({"d": target}, checkpoint_id=folder)
    assert torch.equal(target, torch.arange(8.0))
    empty = DTensor.from_local(torch.zeros(4), mesh, [Shard(0)], run_check=False)
    ref.load({"d": empty}, checkpoint_id=folder)
    if rank < 2:
        assert torch.equal(empty.to_local(), local)
    return len(metadata.state_dict_metadata["d"].chunks)  # type: ignore[union-attr]


def test_a_mesh_without_this_rank(tmp_path: Path) -> None:
    assert run_ranks(3, _submesh, str(tmp_path)) == [2, 2, 2]


def _nested_sharded(rank: int, folder: str) -> None:
    outer_boxes = [ShardMetadata([0, 0], [4, 2], "rank:0/cpu"), ShardMetadata([0, 2], [4, 2], "rank:1/cpu")]
    whole = torch.arange(16.0).reshape(4, 4)
    outer = sharded(2, whole, EnumerableShardingSpec(outer_boxes))
    group = dist.new_group([rank], use_local_synchronization=True)
    inner_spec = EnumerableShardingSpec([ShardMetadata([0, 0], [4, 2], f"rank:{rank}/cpu")])
    inner = sharded_tensor.empty(inner_spec, 4, 2, process_group=group)
    inner.local_shards()[0].tensor.copy_(outer.local_shards()[0].tensor)
    outer.local_shards()[0].tensor = inner
    ref.save({"n": outer}, checkpoint_id=folder)
    target = torch.zeros(4, 4)
    ref.load({"n": target}, checkpoint_id=folder)
    assert torch.equal(target, whole)
    inner.local_shards()[0].tensor.zero_()
    ref.load({"n": outer}, checkpoint_id=folder)
    assert torch.equal(inner.local_shards()[0].tensor, whole[:, 2 * rank : 2 * rank + 2])


def test_nested_sharded_tensors(tmp_path: Path) -> None:
    run_ranks(2, _nested_sharded, str(tmp_path))


# -- models ----------------------------------------------------------------------------------------------------------


def model(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))


def step(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    loss = module(torch.ones(2, 5)).square().sum()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def _fsdp1(rank: int, folder: str, kind: str) -> None:
    state_type = StateDictType[kind]

    def wrapped(seed: int, **kwargs: Any) -> Any:
        return FullyShardedDataParallel(model(seed), device_id=torch.device("cpu"), **kwargs)

    source = wrapped(1)
    with FullyShardedDataParallel.summon_full_params(source):
        expected = [p.clone() for p in source.parameters()]
    for name, (writing, reading) in enumerate(PAIRS):
        with FullyShardedDataParallel.state_dict_type(source, state_type):
            ENGINES[writing].save({"m": source.state_dict()}, checkpoint_id=f"{folder}/{name}")
        target = wrapped(2)
        with FullyShardedDataParallel.state_dict_type(target, state_type):
            state = {"m": target.state_dict()}
            ENGINES[reading].load(state, checkpoint_id=f"{folder}/{name}")
            target.load_state_dict(state["m"])
        with FullyShardedDataParallel.summon_full_params(target):
            assert all(torch.equal(a, b) for a, b in zip(target.parameters(), expected, strict=True))


@pytest.mark.parametrize("kind", ["LOCAL_STATE_DICT", "SHARDED_STATE_DICT"])
def test_fsdp1(tmp_path: Path, kind: str) -> None:
    run_ranks(2, _fsdp1, str(tmp_path), kind)


def _wrap(kind: str, seed: int) -> torch.nn.Module:
    module = model(seed)
    if kind == "fsdp2":
        fully_shard(module, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    elif kind == "hsdp":
        fully_shard(module, mesh=init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b")))
    elif kind == "fsdp1":
        return FullyShardedDataParallel(
            module, device_id=torch.device("cpu"), sharding_strategy=ShardingStrategy.FULL_SHARD, use_orig_params=True
        )
    return module


class App:
    """A model with its optimizer as a Stateful, as applications write it."""

    def __init__(self, kind: str, seed: int) -> None:
        self.model = _wrap(kind, seed)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1 * seed)

    def state_dict(self) -> dict[str, Any]:
        model_state, optimizer_state = get_state_dict(self.model, self.optimizer)
        return {"model": model_state, "optimizer": optimizer_state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        set_state_dict(self.model, self.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])


def _resume(rank: int, folder: str) -> None:
    apps = {kind: App(kind, 1) for kind in ("plain", "fsdp2", "hsdp", "fsdp1")}
    losses = {}
    for number, (kind, app) in enumerate(apps.items()):
        step(app.model, app.optimizer)
        writing = "ref" if number % 2 else "torch"
        ENGINES[writing].save({"app": app}, checkpoint_id=f"{folder}/{kind}")
        losses[kind] = step(app.model, app.optimizer)
    for saved in apps:
        for loaded in apps:
            fresh = App(loaded, 2)
            ref.load({"app": fresh}, checkpoint_id=f"{folder}/{saved}")
            assert fresh.optimizer.param_groups[0]["lr"] == 0.1
            assert torch.allclose(step(fresh.model, fresh.optimizer), losses[saved]), (saved, loaded)


def test_training_resumes_in_any_wrapping(tmp_path: Path) -> None:
    run_ranks(4, _resume, str(tmp_path), limit=40)


# -- mixing parts ----------------------------------------------------------------------------------------------------


def _state() -> dict[str, Any]:
    return {"t": torch.arange(9.0), "n": {"o": [1, 2], "d": {"x": torch.ones(2)}}}


def _blank() -> dict[str, Any]:
    return {"t": torch.zeros(9), "n": {"o": None, "d": {"x": torch.zeros(2)}}}


@pytest.mark.parametrize("engine", ["ref", "torch"])
@pytest.mark.parametrize("storage", ["ref", "torch"])
@pytest.mark.parametrize("planner", ["ref", "torch"])
def test_engine_storage_and_planner_of_either(tmp_path: Path, engine: str, storage: str, planner: str) -> None:
    one, store, plan = ENGINES[engine], ENGINES[storage], ENGINES[planner]
    one.save(_state(), storage_writer=store.FileSystemWriter(tmp_path), planner=plan.DefaultSavePlanner())
    loaded = _blank()
    one.load(loaded, storage_reader=store.FileSystemReader(tmp_path), planner=plan.DefaultLoadPlanner())
    assert torch.equal(loaded["t"], _state()["t"]) and loaded["n"]["o"] == [1, 2] and loaded["n"]["d"]["x"].sum() == 2


def test_torch_converts_what_this_package_wrote(tmp_path: Path) -> None:
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    state = {"t": torch.arange(3.0), "e": {}, "d": {0: 1, "x": {"y": []}}}
    ref.save(state, checkpoint_id=tmp_path / "c")
    dcp_to_torch_save(tmp_path / "c", tmp_path / "x.pt")
    back = torch.load(tmp_path / "x.pt", weights_only=False)
    assert torch.equal(back["t"], state["t"]) and back["d"] == {"0": 1, "x": {"y": []}}
    dcp.load(target := {"e": {}, "d": {"0": 0}}, checkpoint_id=tmp_path / "c")
    assert target == {"e": {}, "d": {"0": 1}}
    assert outcome(dcp.load, {"e": {"x": 1}}, checkpoint_id=tmp_path / "c")["type"]
