"""Models as training jobs hold them: FSDP1, FSDP2, hybrid, tensor-parallel, both, and plain. All on CPU too."""

from __future__ import annotations

import functools
import gc
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy, StateDictType, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.sharding import own_groups
from dcp_conformance.harness.subject.session import Session, into_subject

Result = TypeVar("Result")
WAYS = ("plain", "fsdp2", "hybrid", "tensor_parallel", "fsdp2_and_tensor_parallel")


class Net(nn.Module):
    """Two layers, one nested; the inner width divides evenly by 2 and 4, the outer ones do not."""

    def __init__(self, inner: int = 8) -> None:
        super().__init__()
        self.first = nn.Linear(6, inner)
        self.nested = nn.Sequential(nn.ReLU(), nn.Linear(inner, 5))
        self.register_buffer("steps", torch.zeros(3))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.nested(self.first(value))
        return result


class Uneven(Net):
    """The same with a width that divides by nothing."""

    def __init__(self) -> None:
        super().__init__(7)


def seeded(kind: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a model whose parameters and buffers follow from the seed, the same on every rank.

    No generator is touched.
    """
    with torch.random.fork_rng(devices=[]):
        model = kind()
    with torch.no_grad():
        for place, tensor in enumerate([*model.parameters(), *model.buffers()]):
            tensor.copy_(torch.sin(torch.arange(tensor.numel()) * 0.7 + seed * 100 + place).reshape(tensor.shape))
    return model


def stepped(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> float:
    """One training step on an input that follows from the seed; its loss before the step."""
    value = torch.cos(torch.arange(24.0) + seed).reshape(4, 6)
    optimizer.zero_grad()
    output = model(value)
    whole = output.full_tensor() if isinstance(output, DTensor) else output
    loss = (whole * whole).sum()
    loss.backward()
    optimizer.step()
    return float(loss)


def job(scenario: Callable[..., Result]) -> Callable[..., Result]:
    """Ends the groups of the models that a scenario made, leaves the random state alone, and mutes torch's warnings."""

    @functools.wraps(scenario)
    def cleaned(*args: Any) -> Result:
        with own_groups(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = scenario(*args)
            # Models are full of reference cycles; while one is left, the threads of its groups go on.
            gc.collect()
            return result

    return cleaned


def full(value: Any) -> torch.Tensor:
    """Return the whole of a plain or distributed tensor, on every rank."""
    tensor = value.full_tensor() if isinstance(value, DTensor) else value
    whole: torch.Tensor = tensor.detach().clone()
    return whole


# FSDP1: the two state dict types that hold shards.


@job
def fsdp1_round_trip(session: Session, kind: str) -> tuple[bool, list[Difference]]:
    """Save an FSDP1 model, load into another; (whether they differed before, how they differ after)."""
    saved, other = (_fsdp1(session, seeded(Uneven, seed)) for seed in (1, 2))
    before = _full_parameters(saved)
    different = bool(differences(before, _full_parameters(other)))
    with FullyShardedDataParallel.state_dict_type(saved, StateDictType[kind]):
        session.save(saved.state_dict(), session.new_id())
    with FullyShardedDataParallel.state_dict_type(other, StateDictType[kind]):
        state = other.state_dict()
        session.load(state, session.new_id())
        other.load_state_dict(state)
    return different, differences(before, _full_parameters(other))


@job
def save_fsdp1(session: Session) -> None:
    """Save an FSDP1 model as a sharded state dict."""
    saved = _fsdp1(session, seeded(Uneven, 1))
    with FullyShardedDataParallel.state_dict_type(saved, StateDictType.SHARDED_STATE_DICT):
        session.save(saved.state_dict(), session.new_id())


@job
def load_fsdp1(session: Session) -> list[Difference]:
    """Load what save_fsdp1 saved into a model with other parameters, on the ranks of this run."""
    other = _fsdp1(session, seeded(Uneven, 2))
    with FullyShardedDataParallel.state_dict_type(other, StateDictType.SHARDED_STATE_DICT):
        state = other.state_dict()
        session.load(state, session.new_id())
        other.load_state_dict(state)
    expected = {name: value.detach() for name, value in seeded(Uneven, 1).named_parameters()}
    found = {name.replace("_fsdp_wrapped_module.", ""): value for name, value in _full_parameters(other).items()}
    return differences(expected, found)


def _fsdp1(session: Session, model: nn.Module, **options: Any) -> FullyShardedDataParallel:
    device = torch.device(session.device)
    model.nested = FullyShardedDataParallel(model.get_submodule("nested"), device_id=device, **options)
    return FullyShardedDataParallel(model, device_id=device, **options)


def _full_parameters(model: FullyShardedDataParallel) -> dict[str, torch.Tensor]:
    with FullyShardedDataParallel.summon_full_params(model):
        return {name: value.detach().clone() for name, value in model.named_parameters()}


@job
def hybrid_to_fsdp1(session: Session, even: bool) -> list[Difference]:
    """Save an FSDP1 model under hybrid sharding, 2 by 2; load it into one that is fully sharded."""
    kind, layers = torch.device(session.device).type, Net if even else Uneven
    mesh = DeviceMesh(kind, [[0, 1], [2, 3]])
    saved = _fsdp1(session, seeded(layers, 1), device_mesh=mesh, sharding_strategy=ShardingStrategy.HYBRID_SHARD)
    other = _fsdp1(session, seeded(layers, 2), device_mesh=DeviceMesh(kind, [0, 1, 2, 3]))
    for model in (saved, other):
        FullyShardedDataParallel.set_state_dict_type(model, StateDictType.SHARDED_STATE_DICT)
    session.save(saved.state_dict(), session.new_id())
    state = other.state_dict()
    session.load(state, session.new_id())
    other.load_state_dict(state)
    return differences(_full_parameters(saved), _full_parameters(other))


# FSDP2, tensor parallel, and both.


def wrapped(session: Session, way: str, seed: int) -> nn.Module:
    """A model in one of WAYS on 4 ranks (plain and fsdp2: on any number)."""
    kind, model, ranks = torch.device(session.device).type, seeded(Net, seed).to(session.device), session.world_size
    if way == "plain":
        return model
    if way in ("fsdp2", "hybrid"):
        names = ("replicas", "shards")
        grid = DeviceMesh(kind, [[0, 1], [2, 3]], mesh_dim_names=names) if way == "hybrid" else None
        return _fully_sharded(model, DeviceMesh(kind, list(range(ranks))) if grid is None else grid)
    if way == "tensor_parallel":
        return _tensor_parallel(model, DeviceMesh(kind, list(range(ranks))))
    mesh = DeviceMesh(kind, [[0, 1], [2, 3]], mesh_dim_names=("dp", "tp"))
    return _fully_sharded(_tensor_parallel(model, mesh["tp"]), mesh["dp"])


def _fully_sharded(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    fully_shard(model.get_submodule("nested"), mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def _tensor_parallel(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    return parallelize_module(model, mesh, {"first": ColwiseParallel(), "nested.1": RowwiseParallel()})


@job
def every_way_into_every_other(session: Session) -> list[Difference]:
    """Save one model in each of WAYS in one checkpoint, then load each into each: five loads, 25 pairs."""
    saved = {way: wrapped(session, way, seed) for seed, way in enumerate(WAYS)}
    expected = {way: {name: full(value) for name, value in model.state_dict().items()} for way, model in saved.items()}
    session.save({way: model.state_dict() for way, model in saved.items()}, session.new_id())
    targets, found = {way: wrapped(session, way, 10) for way in WAYS}, list[Difference]()
    for turn in range(len(WAYS)):
        chosen = {way: targets[WAYS[(place + turn) % len(WAYS)]] for place, way in enumerate(WAYS)}
        state = {way: model.state_dict() for way, model in chosen.items()}
        _erase(state)
        session.load(state, session.new_id())
        for place, (way, model) in enumerate(chosen.items()):
            model.load_state_dict(state[way])
            now = {name: full(value) for name, value in model.state_dict().items()}
            found += differences(expected[way], now, key=f"{way} -> {WAYS[(place + turn) % len(WAYS)]}")
    return found


def _erase(states: dict[str, Any]) -> None:
    for state in states.values():
        for value in state.values():
            (value.to_local() if isinstance(value, DTensor) else value).detach().fill_(-7.0)


@job
def resumed_training(session: Session) -> tuple[list[Difference], list[float], list[float]]:
    """FSDP2 and Adam after a step, saved and loaded through the helpers into others: (differences, next losses).

    The losses are those of the model that went on and of the one that was resumed; the second one shows whether the
    optimizer took the first step with what it remembered.
    """
    get, put = session.tool("get_state_dict"), session.tool("set_state_dict")
    model, other = wrapped(session, "fsdp2", 1), wrapped(session, "fsdp2", 2)
    optimizer, other_optimizer = (torch.optim.Adam(item.parameters(), lr=0.05) for item in (model, other))
    stepped(model, optimizer, 1)
    saved = into_subject(get, model, optimizer)
    expected = _flat_full(saved)
    session.save({"model": saved[0], "optim": saved[1]}, session.new_id())
    wanted = into_subject(get, other, other_optimizer)
    target = {"model": wanted[0], "optim": wanted[1]}
    session.load(target, session.new_id())
    into_subject(put, other, other_optimizer, model_state_dict=target["model"], optim_state_dict=target["optim"])
    found = differences(expected, _flat_full(into_subject(get, other, other_optimizer)))
    went_on = [stepped(model, optimizer, step) for step in (2, 3)]
    return found, went_on, [stepped(other, other_optimizer, step) for step in (2, 3)]


def _flat_full(states: Any) -> dict[str, Any]:
    model, optimizer = states
    moments = {
        f"{name}.{key}": full(value) if isinstance(value, torch.Tensor) else value
        for name, state in optimizer["state"].items()
        for key, value in state.items()
    }
    return {"model": {name: full(value) for name, value in model.items()}, "moments": moments}


# Extra state, and the names of wrapped models.


class _Extra(nn.Module):
    """A DTensor parameter, a replicated one, and extra state of a number and a tensor."""

    def __init__(self, session: Session, mesh: DeviceMesh, seed: int) -> None:
        from torch.distributed.tensor import Replicate, Shard, distribute_tensor

        super().__init__()
        whole = seeded(Uneven, seed).get_parameter("first.weight").detach().to(session.device)
        self.sharded = nn.Parameter(distribute_tensor(whole, mesh, [Shard(0)], src_data_rank=None))
        self.replicated = nn.Parameter(distribute_tensor(whole + 1, mesh, [Replicate()], src_data_rank=None))
        self.extra: dict[str, Any] = {"number": seed, "tensor": torch.full((3,), float(seed), device=session.device)}

    def get_extra_state(self) -> dict[str, Any]:
        return self.extra

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.extra = state


@job
def extra_state(session: Session) -> list[Difference]:
    """Save a module with extra state and load it into one with another; what then differs."""
    mesh = DeviceMesh(torch.device(session.device).type, list(range(session.world_size)))
    saved, other = (_Extra(session, mesh, seed) for seed in (1, 2))
    session.save({"module": _stored(session, saved)}, session.new_id())
    target = {"module": _stored(session, other)}
    session.load(target, session.new_id())
    if "objects" in session.storage.unsupported:
        other.load_state_dict(target["module"], strict=False)
        other.extra["number"] = saved.extra["number"]
    else:
        other.load_state_dict(target["module"])
    return differences(_said(saved), _said(other))


def _stored(session: Session, module: _Extra) -> dict[str, Any]:
    state = dict(module.state_dict())
    if "objects" in session.storage.unsupported:
        state["_extra_state"] = {"tensor": module.extra["tensor"]}
    return state


def _said(module: _Extra) -> dict[str, Any]:
    return {**{name: full(value) for name, value in module.named_parameters()}, **module.extra}


@job
def names_of_wrapped_models(session: Session) -> dict[str, list[str]]:
    """Return the keys that get_model_state_dict gives for a bare model, and for wrapped ones."""
    get = session.tool("get_model_state_dict")
    data_parallel = nn.parallel.DistributedDataParallel
    models = {
        "bare": seeded(Net, 1),
        "data parallel": data_parallel(seeded(Net, 1)),
        "compiled": torch.compile(seeded(Net, 1)),
        "data parallel of compiled": data_parallel(torch.compile(seeded(Net, 1))),
    }
    return {name: sorted(into_subject(get, model)) for name, model in models.items()}


@job
def wrapped_into_bare(session: Session) -> list[Difference]:
    """Save a DDP model through get_model_state_dict and load it into the bare one."""
    saved, bare = nn.parallel.DistributedDataParallel(seeded(Net, 1)), seeded(Net, 2)
    session.save(into_subject(session.tool("get_model_state_dict"), saved), session.new_id())
    target = dict(bare.state_dict())
    session.load(target, session.new_id())
    bare.load_state_dict(target)
    return differences(dict(saved.module.state_dict()), dict(bare.state_dict()))
