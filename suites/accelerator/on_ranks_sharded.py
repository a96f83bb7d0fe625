"""Sharded values on devices and on the CPU, and models that are sharded over devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from dcp_conformance.harness.cluster import rank as on_rank
from dcp_conformance.harness.devices import SIMULATED
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.layouts import Layout
from dcp_conformance.harness.states.sharding import Placer, blanked, piece_differences, pieces
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.accelerator.on_devices import kind, seen, wait
from dcp_conformance.suites.accelerator.seen import Seen


def between_layouts(session: Session, start: str, end: str) -> Seen:
    """Turn rows at `start` into columns at `end`, each `cpu` or `device`; only local parts are compared."""
    everyone = tuple(range(session.world_size))
    rows, columns = Layout("rows", everyone, ("S0",)), Layout("columns", everyone, ("S1",))
    whole, checkpoint_id = coded(3, (7, 6), version=1), session.new_id()
    given = _placer(session, start).placed(whole, rows)
    placer = _placer(session, end)
    target = {"t": blanked(placer.placed(whole, columns))}
    wait()
    session.save({"t": given}, checkpoint_id)
    session.load(target, checkpoint_id)
    wait()
    wanted = placer.placed(whole, columns)
    place = torch.device("cpu" if end == "cpu" else session.device)
    strays = tuple(f"a local part is on {part.device}" for part in pieces(target["t"]) if part.device != place)
    return seen(session, piece_differences(wanted, target["t"], "t"), strays)


def sharded_model(session: Session, how: str) -> Seen:
    """Save the parameters of a sharded model, spoil them, load them back; `how`: fsdp, hybrid, tensor or offloaded."""
    _needs_collectives(session)
    model, target = _model(session, how, seed=1), _model(session, how, seed=2)
    options = StateDictOptions(cpu_offload=how == "offloaded")
    given, loaded = get_model_state_dict(model, options=options), get_model_state_dict(target, options=options)
    checkpoint_id = session.new_id()
    session.save({"model": given}, checkpoint_id)
    session.load({"model": loaded}, checkpoint_id)
    wait()
    return seen(session, _model_differences(given, loaded))


def offloaded_state(session: Session) -> Seen:
    """Save what get_model_state_dict moved off the device, load it, put it back."""
    from torch.distributed.checkpoint.state_dict import set_model_state_dict

    options, device = StateDictOptions(cpu_offload=True), session.device
    models = [torch.nn.Linear(5, 3, device=device) for _ in range(2)]
    given, loaded = (cast("dict[str, torch.Tensor]", get_model_state_dict(item, options=options)) for item in models)
    wanted = {key: value.clone() for key, value in given.items()}
    checkpoint_id = session.new_id()
    session.save({"model": given}, checkpoint_id)
    session.load({"model": loaded}, checkpoint_id)
    set_model_state_dict(models[1], dict(loaded), options=options)
    wait()
    strays = tuple(
        f"{name!r} is on {value.device}" for name, value in models[1].state_dict().items() if value.device.type == "cpu"
    )
    return seen(session, differences(wanted, models[1].state_dict()), strays)


def _placer(session: Session, where: str) -> Placer:
    return Placer("cpu" if where == "cpu" else session.device)


def _needs_collectives(session: Session) -> None:
    """End the scenario where the ranks' group has none of the device's own."""
    if kind(session) == SIMULATED:
        session.give_up("a sharded model sends device tensors between ranks, and simulated devices carry no collective")
    if kind(session) != "cpu" and on_rank.current().backend == "gloo":
        session.give_up(f"a sharded model needs a {kind(session)} device for each of {session.world_size} ranks")


def _model(session: Session, how: str, *, seed: int) -> Any:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.ReLU(), torch.nn.Linear(12, 8)).to(session.device)
    _SHARDED[how](model, session)
    return model


def _fsdp(model: Any, session: Session) -> None:
    _shard(model, init_device_mesh(kind(session), (session.world_size,)))


def _hybrid(model: Any, session: Session) -> None:
    _shard(model, init_device_mesh(kind(session), (session.world_size // 2, 2), mesh_dim_names=("copies", "parts")))


def _shard(model: Any, mesh: DeviceMesh) -> None:
    from torch.distributed.fsdp import fully_shard

    for part in model:
        if list(part.parameters()):
            fully_shard(part, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _tensor(model: Any, session: Session) -> None:
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh(kind(session), (session.world_size,))
    parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})


_SHARDED: dict[str, Callable[[Any, Session], None]] = {
    "fsdp": _fsdp, "hybrid": _hybrid, "tensor": _tensor, "offloaded": _fsdp,
}  # fmt: skip


def _model_differences(given: dict[str, Any], loaded: dict[str, Any]) -> list[Difference]:
    return [found for key, value in given.items() for found in piece_differences(value, loaded[key], key)]
