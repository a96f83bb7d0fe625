"""Load into values that others hold references to, and report which references no longer lead to the loaded value."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

import torch
from torch.distributed._shard.sharded_tensor import Shard as LocalShard
from torch.distributed._shard.sharded_tensor import ShardedTensor, init_from_local_shards
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session

WHOLE = (8, 6)


def tensors_in_their_memory(session: Session) -> tuple[list[Difference], list[str]]:
    """Load into tensors at top level, in a dict and in lists; which are other objects, or have other memory, now."""
    state = {
        "top": coded(1, (5,), version=1),
        "nested": {"deep": {"inner": coded(2, (2, 3), version=1)}},
        "list": [coded(3, (4,), version=1), {"scalar": coded(4, (), version=1)}],
    }
    checkpoint_id, target = session.new_id(), blank(state)
    session.save(state, checkpoint_id)
    held = {name: (item, item.data_ptr()) for name, item in _places(target).items()}
    session.load(target, checkpoint_id)
    after = _places(target)
    moved = [name for name, (item, pointer) in held.items() if after[name] is not item or item.data_ptr() != pointer]
    return differences(state, target), moved


def _places(state: Any) -> dict[str, torch.Tensor]:
    return {
        "top": state["top"], "nested.deep.inner": state["nested"]["deep"]["inner"],
        "list.0": state["list"][0], "list.1.scalar": state["list"][1]["scalar"],
    }  # fmt: skip


def mappings_stay(session: Session) -> tuple[list[Difference], list[str]]:
    """Load into nested dicts, OrderedDicts and defaultdicts; which are other objects or types afterwards."""
    state = _mappings(session, version=1)
    checkpoint_id, target = session.new_id(), _mappings(session, version=2)
    session.save(state, checkpoint_id)
    held = {key: (item, type(item)) for key, item in target.items()} | {"plain.inner": (target["plain"]["inner"], dict)}
    session.load(target, checkpoint_id)
    after = {**target, "plain.inner": target["plain"]["inner"]}
    return differences(state, target), [
        key for key, (item, kind) in held.items() if after[key] is not item or type(after[key]) is not kind
    ]


def _mappings(session: Session, *, version: int) -> dict[str, Any]:
    leaves: dict[str, Any] = {"weight": coded(1, (4,), version=version)}
    if "objects" not in session.storage.unsupported:
        leaves["step"] = version
    filled: defaultdict[str, Any] = defaultdict(list)
    filled.update({"of": coded(3, (2,), version=version)})
    return {"plain": {"inner": dict(leaves)}, "ordered": OrderedDict(leaves), "default": filled}


def only_values_change(session: Session) -> tuple[list[Difference], list[str]]:
    """Load a model with trained, frozen and hooked parameters and an optimizer; what else than values changed."""
    checkpoint_id, source = session.new_id(), _model(version=1)
    session.save({"model": source}, checkpoint_id)
    model: Any = _model(version=2)
    called: list[str] = []
    weight, frozen = model[0].weight, model[1].bias
    frozen.requires_grad_(False)
    weight.register_hook(lambda grad: called.append("gradient"))
    model.register_forward_hook(lambda *_: called.append("forward"))
    optimizer = torch.optim.SGD([item for item in model.parameters() if item.requires_grad], lr=0.1)
    model(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    before = _facts(model, optimizer)
    called.clear()
    session.load({"model": model}, checkpoint_id)
    after = _facts(model, optimizer)
    model(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    changed = [name for name in before if before[name] != after[name]]
    changed += [f"the {what} hook" for what in ("forward", "gradient") if what not in called]
    return differences(dict(source.state_dict()), dict(model.state_dict())), changed


def _model(*, version: int) -> torch.nn.Sequential:
    model = torch.nn.Sequential(_linear(3, 4), _linear(4, 2))
    _fill(model, version=version)
    return model


def _linear(inputs: int, outputs: int, **options: Any) -> Any:
    # Not initialised, so that the random state of the rank stays as it is.
    return torch.nn.utils.skip_init(  # type: ignore[no-untyped-call]
        torch.nn.Linear, inputs, outputs, dtype=torch.float64, **options
    )


def _fill(model: torch.nn.Module, *, version: int) -> None:
    with torch.no_grad():
        for key, parameter in enumerate(model.parameters()):
            parameter.copy_(coded(key, tuple(parameter.shape), version=version))


def _facts(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, item in model.named_parameters():
        facts[f"{name} as an object"] = id(item)
        facts[f"the memory of {name}"] = item.data_ptr()
        facts[f"requires_grad of {name}"] = item.requires_grad
        facts[f"is_leaf of {name}"] = item.is_leaf
        facts[f"the gradient of {name}"] = None if item.grad is None else (id(item.grad), item.grad.tolist())
    facts["the optimizer's parameters"] = [id(item) for group in optimizer.param_groups for item in group["params"]]
    return facts


class Tied(torch.nn.Module):
    """Two names for one weight."""

    def __init__(self, *, version: int) -> None:
        super().__init__()
        self.embed = _linear(3, 3, bias=False)
        self.head = _linear(3, 3, bias=False)
        self.head.weight = self.embed.weight
        _fill(self, version=version)


def tied_weights(session: Session, form: str) -> tuple[list[Difference], list[str]]:
    """Save and load a model with tied weights, as a Stateful object or as its plain state dict; which ties are gone."""
    checkpoint_id, source, model = session.new_id(), Tied(version=1), Tied(version=2)
    session.save({"model": source if form == "stateful" else source.state_dict()}, checkpoint_id)
    loaded = model.state_dict()
    session.load({"model": model if form == "stateful" else loaded}, checkpoint_id)
    ties = {"the model": (model.embed.weight, model.head.weight)}
    ties |= {"the loaded state dict": (loaded["embed.weight"], loaded["head.weight"])}
    gone = [where for where, (one, other) in ties.items() if one.data_ptr() != other.data_ptr()]
    gone += (
        ["the loaded state dict and the model"]
        if loaded["embed.weight"].data_ptr() != model.embed.weight.data_ptr()
        else []
    )
    return differences(dict(source.state_dict()), dict(model.state_dict())), gone


def distributed_targets(session: Session) -> tuple[list[Difference], list[str]]:
    """Load into a DTensor and a ShardedTensor; which object, mesh, placement or memory is another one afterwards."""
    checkpoint_id, whole = session.new_id(), coded(1, WHOLE, version=1)
    state, target = _distributed(session, whole), _distributed(session, torch.full_like(whole, -1))
    session.save(state, checkpoint_id)
    held, before = dict(target), _layout(target)
    session.load(target, checkpoint_id)
    changed = [f"{name} as an object" for name, item in held.items() if target[name] is not item]
    changed += [name for name, fact in _layout(target).items() if fact != before[name]]
    return differences(_locals(state), _locals(target)), changed


def _distributed(session: Session, whole: torch.Tensor) -> dict[str, Any]:
    mesh = init_device_mesh(session.device.partition(":")[0], (session.world_size,))
    rows = whole.chunk(session.world_size)[session.rank].clone().to(session.device)
    offsets = [session.rank * rows.shape[0], 0]
    local = LocalShard.from_tensor_and_offsets(rows, offsets, session.rank)
    return {
        "dtensor": distribute_tensor(whole.clone(), mesh, [Shard(0)]),
        "sharded": init_from_local_shards([local], list(whole.shape)),
    }


def _layout(state: dict[str, Any]) -> dict[str, Any]:
    dtensor, sharded = state["dtensor"], state["sharded"]
    facts: dict[str, Any] = {"the type of dtensor": type(dtensor), "the type of sharded": type(sharded)}
    if isinstance(dtensor, DTensor):
        facts |= {"the mesh of dtensor": dtensor.device_mesh, "the placements of dtensor": dtensor.placements}
        facts |= {"the memory of dtensor": dtensor.to_local().data_ptr(), "the size of dtensor": tuple(dtensor.size())}
    if isinstance(sharded, ShardedTensor):
        facts["the layout of sharded"] = [
            (tuple(shard.shard_offsets), tuple(shard.shard_sizes), str(shard.placement))
            for shard in sharded.metadata().shards_metadata
        ]
        facts["the memory of sharded"] = [shard.tensor.data_ptr() for shard in sharded.local_shards()]
    return facts


def _locals(state: dict[str, Any]) -> dict[str, Any]:
    return {"dtensor": state["dtensor"], "sharded": [shard.tensor for shard in state["sharded"].local_shards()]}
