"""Templates without memory, torch's global settings, and the state of optimizers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session


def meta_targets(session: Session) -> tuple[list[str], list[Difference]]:
    """Load into meta tensors, plain and distributed: those not on the group's device then, and what differs."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    device = session.device.partition(":")[0]
    mesh = init_device_mesh(device, (session.world_size,))
    whole = {
        "rows": coded(1, (7, 3), version=1),
        # Over four ranks the last one has nothing of it.
        "few": coded(4, (5, 2), version=1),
        "copies": coded(2, (5,), version=1),
        "plain": coded(3, (4, 2), version=1),
    }

    def placed(meta: bool) -> dict[str, Any]:
        values = {key: value.to("meta") if meta else value.clone() for key, value in whole.items()}
        return {
            "rows": distribute_tensor(values["rows"], mesh, [Shard(0)]),
            "few": distribute_tensor(values["few"], mesh, [Shard(0)]),
            "copies": distribute_tensor(values["copies"], mesh, [Replicate()]),
            "nested": {"plain": values["plain"]},
        }

    checkpoint_id, wanted, target = session.new_id(), placed(False), placed(True)
    session.save(wanted, checkpoint_id)
    session.load(target, checkpoint_id)
    flat = {**{key: target[key] for key in ("rows", "few", "copies")}, "nested.plain": target["nested"]["plain"]}
    # What it calls its device is that of its mesh: its local part tells where it lies.
    local = {key: value.to_local() if hasattr(value, "to_local") else value for key, value in flat.items()}
    elsewhere = [f"{key} is on {value.device}" for key, value in local.items() if value.device.type != device]
    return elsewhere, [] if elsewhere else differences(wanted, target)


def meta_sharded_target(session: Session) -> Attempt:
    """Report how a load into a ShardedTensor on the meta device ended."""
    from torch.distributed._shard import sharded_tensor
    from torch.distributed._shard.sharding_spec import EnumerableShardingSpec, ShardMetadata

    from dcp_conformance.harness.states.sharding import shards_of

    shards = [(rank, [2 * rank], [2]) for rank in range(session.world_size)]
    whole, checkpoint_id = coded(1, (2 * session.world_size,), version=1), session.new_id()
    session.save({"s": shards_of(whole, shards)}, checkpoint_id)
    spec = EnumerableShardingSpec([ShardMetadata(offset, size, f"rank:{rank}/meta") for rank, offset, size in shards])
    target = sharded_tensor.empty(spec, 2 * session.world_size, dtype=torch.float64)
    return session.attempt(session.load, {"s": target}, checkpoint_id)


@contextlib.contextmanager
def _default_dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


SETTINGS: dict[str, Callable[[], Any]] = {
    "default_dtype": _default_dtype,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "deterministic": _deterministic,
    "default_device": lambda: torch.device("meta"),
}


def under_setting(session: Session, setting: str) -> tuple[list[str], list[Difference], list[Difference]]:
    """Save under a setting and load without it, and the reverse: changed settings, and what loads otherwise."""
    state = {
        "double": coded(1, (9,), version=1),
        "single": coded(2, (3, 2), version=0, dtype=torch.float32),
        "parameter": torch.nn.Parameter(coded(3, (4,), version=1)),
        "integers": coded(4, (5,), version=1, dtype=torch.int64),
        "scalar": torch.tensor(0.1, dtype=torch.float32),
    }
    if "objects" not in session.storage.unsupported:
        state |= {"number": 0.1, "list": [1, 2.5]}  # type: ignore[dict-item]
    changed, found = [], []
    for name, during_save in (("during the save", True), ("during the load", False)):
        checkpoint_id, target = session.new_id(name.replace(" ", "-")), blank(state)
        ambient, plain = SETTINGS[setting], contextlib.nullcontext
        with ambient() if during_save else plain():
            before = _settings()
            session.save(state, checkpoint_id)
            changed += [f"{name} {before} became {_settings()}"] if _settings() != before else []
        with plain() if during_save else ambient():
            before = _settings()
            session.load(target, checkpoint_id)
            changed += [f"{name} {before} became {_settings()}"] if _settings() != before else []
        found.append(differences(state, target))
    return changed, found[0], found[1]


def _settings() -> dict[str, str]:
    return {
        "default dtype": str(torch.get_default_dtype()),
        "default device": str(torch.get_default_device()),
        "gradients": str(torch.is_grad_enabled()),
        "inference mode": str(torch.is_inference_mode_enabled()),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
    }


def _adam(**options: Any) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.Adam(parameters, lr=0.01, **options)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    "adam_single": _adam(foreach=False, fused=False),
    "adam_foreach": _adam(foreach=True),
    "adam_fused": _adam(fused=True),
    "adamw_amsgrad": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, amsgrad=True),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.01),
    "bfloat16_adam": _adam(foreach=False, fused=False),
}


def optimizer_round_trip(session: Session, name: str) -> tuple[list[Difference], list[Difference]]:
    """Make two steps, save, load into a fresh trainer; report what differs then, and after one more step of both."""
    dtype = torch.bfloat16 if name.startswith("bfloat16") else torch.float32
    trained, fresh = _trainer(name, dtype, 1.0), _trainer(name, dtype, -0.5)
    for _ in range(2):
        _step(*trained)
    checkpoint_id, state, target = session.new_id(), _state(session, *trained), _state(session, *fresh)
    if "objects" in session.storage.unsupported:
        session.save(_tensors_only(state), checkpoint_id)
        session.load(_tensors_only(target), checkpoint_id)
    else:
        session.save(state, checkpoint_id)
        session.load(target, checkpoint_id)
    session.tool("set_model_state_dict")(fresh[0], target["model"])
    session.tool("set_optimizer_state_dict")(fresh[0], fresh[1], target["optimizer"])
    loaded = differences(_state(session, *trained), _state(session, *fresh))
    _step(*trained)
    _step(*fresh)
    return loaded, differences(_state(session, *trained), _state(session, *fresh))


def _trainer(name: str, dtype: torch.dtype, scale: float) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    with torch.random.fork_rng(devices=[]):
        model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(-scale, scale, parameter.numel()).reshape(parameter.shape))
    return model, OPTIMIZERS[name](model.parameters())


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    dtype = next(model.parameters()).dtype
    data = torch.linspace(-2, 2, 20).reshape(4, 5).to(dtype)
    model(data).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def _state(session: Session, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "model": session.tool("get_model_state_dict")(model),
        "optimizer": session.tool("get_optimizer_state_dict")(model, optimizer),
    }


def _tensors_only(state: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a training state that a backend without objects stores; hyperparameters are not in it."""
    return {"model": state["model"], "optimizer": {"state": state["optimizer"]["state"]}}
