"""Between checkpoints and files of torch.save: both ways, in one process, and straight into a sharded model."""

from __future__ import annotations

import os
import random
from typing import Any

import torch
from torch import nn

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.sharding import own_groups
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject.session import Session, into_subject

DTYPES = (torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.float64)
ALPHABET = ("weight", "a.b", "0", "state", "\u00fc", "with space", "x")


def checkpoint_to_file(session: Session) -> list[Difference]:
    """Convert a checkpoint of a model; report the content of the file."""
    model, checkpoint_id, path = uneven_model(1), session.new_id(), file_path(session)
    session.save({"model": model}, checkpoint_id)
    into_subject(session.tool("dcp_to_torch_save"), checkpoint_id, path)
    return differences({"model": model.state_dict()}, torch.load(path, weights_only=False))


def file_to_checkpoint(session: Session, form: str) -> list[Difference]:
    """Convert a file of torch.save, and load it into another model.

    form: `zip`, as torch.save writes it; or `old`: as it wrote it before torch 1.6, which torch.load still reads.
    """
    model, other, checkpoint_id, path = uneven_model(1), uneven_model(2), session.new_id(), file_path(session)
    torch.save({"model": model.state_dict()}, path, _use_new_zipfile_serialization=form == "zip")
    into_subject(session.tool("torch_save_to_dcp"), path, checkpoint_id)
    session.load({"model": other}, checkpoint_id)
    return differences(model.state_dict(), other.state_dict())


def file_there_and_back(session: Session, seeds: list[int]) -> list[Difference]:
    """Nested states in a file, converted to a checkpoint and back; keys of differences begin with the seed."""
    to_checkpoint, to_file = session.tool("torch_save_to_dcp"), session.tool("dcp_to_torch_save")
    unlike: list[Difference] = []
    for seed in seeds:
        state = random_state(seed, objects="objects" not in session.storage.unsupported)
        path, checkpoint_id = file_path(session, f"state-{seed}"), session.new_id(f"checkpoint-{seed}")
        torch.save(state, path)
        into_subject(to_checkpoint, path, checkpoint_id)
        into_subject(to_file, checkpoint_id, path + ".back")
        unlike += differences(state, torch.load(path + ".back", weights_only=False), key=f"seed {seed}: ")
    return unlike


def checkpoint_there_and_back(session: Session, seeds: list[int]) -> list[Difference]:
    """Nested states in a checkpoint, converted to a file and back; keys of differences begin with the seed."""
    to_checkpoint, to_file = session.tool("torch_save_to_dcp"), session.tool("dcp_to_torch_save")
    unlike: list[Difference] = []
    for seed in seeds:
        state = random_state(seed, objects="objects" not in session.storage.unsupported)
        path, back = file_path(session, f"state-{seed}"), session.new_id(f"back-{seed}")
        saved = session.new_id(f"checkpoint-{seed}")
        session.save(state, saved)
        into_subject(to_file, saved, path)
        into_subject(to_checkpoint, path, back)
        target = blank(state)
        session.load(target, back)
        unlike += differences(state, target, key=f"seed {seed}: ")
    return unlike


def file_without_state(session: Session, what: str) -> tuple[Attempt, str]:
    """Convert a file that holds no state dict; report how that ended, and the name of the file."""
    path = file_path(session, f"holds-{what}")
    torch.save({"module": uneven_model(1), "list": [torch.ones(2), torch.ones(2)]}[what], path)
    return session.attempt(into_subject, session.tool("torch_save_to_dcp"), path, session.new_id()), path


def converters_on_rank_0(session: Session) -> list[Difference]:
    """Rank 0 converts there and back while the group of all ranks waits for nobody."""
    if session.rank != 0:
        return []
    state, path, checkpoint_id = {"a": coded(1, (4, 3), version=1)}, file_path(session), session.new_id()
    torch.save(state, path)
    into_subject(session.tool("torch_save_to_dcp"), path, checkpoint_id)
    into_subject(session.tool("dcp_to_torch_save"), checkpoint_id, path + ".back")
    return differences(state, torch.load(path + ".back", weights_only=False))


def file_into_sharded_model(session: Session, kind: str) -> list[Difference]:
    """Load a file of torch.save without conversion into a model that is sharded over all ranks."""
    model, path = uneven_model(1), file_path(session)
    if session.rank == 0:
        torch.save({"model": model.state_dict()}, path)
    torch.distributed.barrier()
    with own_groups():
        loaded = _loaded_fsdp if kind == "FSDP" else _loaded_sharded
        return differences(model.state_dict(), loaded(session, uneven_model(2), path))


def file_into_template(session: Session, extra: dict[str, Any]) -> Attempt:
    """Load a file with two tensors directly into a template with these further values."""
    path = file_path(session)
    if session.rank == 0:
        torch.save({"a": torch.ones(3), "b": torch.ones(2), "step": 5}, path)
    if session.world_size > 1:
        torch.distributed.barrier()
    further = {key: torch.zeros(2) if value == "tensor" else value for key, value in extra.items()}
    return session.attempt(load_file, session, {"a": torch.zeros(3), "b": torch.zeros(2), **further}, path)


def file_in_one_process(session: Session) -> list[Difference]:
    """Load a file of torch.save directly, by one process without a process group."""
    state, path = {"a": coded(1, (4, 3), version=1)}, file_path(session)
    torch.save(state, path)
    target = blank(state)
    load_file(session, target, path)
    return differences(state, target)


def load_file(session: Session, target: dict[str, Any], path: str) -> None:
    """Load a file of torch.save through the broadcasting reader and the planner that goes with it."""
    planner = into_subject(session.tool("DynamicMetaLoadPlanner"))
    reader = into_subject(session.tool("BroadcastingTorchSaveReader"))
    session.load(target, path, reader=reader, planner=planner, style="passed")


def uneven_model(version: int) -> nn.Module:
    """Layers whose sizes divide by no number of ranks."""
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Linear(5, 10), nn.ReLU(), nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1))
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            values = torch.arange(parameter.numel()).reshape(parameter.shape)
            parameter.copy_(values + 1000 * number + 10_000 * version)
    return model


def file_path(session: Session, name: str = "model") -> str:
    """Return the same path on every rank and in every run of a trial, of a file that no other trial has."""
    return os.path.join(session.spec.scratch, f"{session.spec.place}-{name}.pt")


def random_state(seed: int, *, objects: bool) -> dict[str, Any]:
    """Return a nested state with string keys, without empty containers (which no checkpoint keeps).

    Some mappings have keys that read like the places of a list, in or out of their order.
    """
    choose = random.Random(seed)
    state = _random_dict(choose, 4, objects)
    for key, names in (("places", ["0", "1", "2"]), ("turned", ["1", "0"]), ("one", ["0"])):
        state[key] = {name: _random_value(choose, 1, objects) for name in names}
    return state


def _random_dict(choose: random.Random, depth: int, objects: bool) -> dict[str, Any]:
    keys = choose.sample(ALPHABET, choose.randint(2, 4))
    return {key: _random_value(choose, depth - 1, objects) for key in keys}


def _random_value(choose: random.Random, depth: int, objects: bool) -> Any:
    kind = choose.choice(["tensor", "dict", "list", *(["object", "objects"] if objects else [])])
    if kind == "dict" and depth:
        return _random_dict(choose, depth, objects)
    if kind == "list" and depth:
        return [_random_value(choose, depth - 1, objects) for _ in range(choose.randint(2, 4))]
    if kind == "objects":
        return [choose.choice([1, 2.5, "text", None, ("pair", 1)]) for _ in range(2)]
    if kind == "object":
        return choose.choice([3, -0.5, "text", True, None, ("a", 1)])
    name, shape = str(choose.random()), tuple(choose.randint(1, 4) for _ in range(choose.randint(0, 3)))
    return pattern(name, shape, choose.choice(DTYPES))


def _loaded_fsdp(session: Session, model: nn.Module, path: str) -> dict[str, Any]:
    from torch.distributed.fsdp import FullyShardedDataParallel

    wrapped = FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device(session.device))
    load_file(session, {"model": wrapped}, path)
    return dict(wrapped.state_dict())


def _loaded_sharded(session: Session, model: nn.Module, path: str) -> dict[str, Any]:
    from torch.distributed.fsdp import fully_shard

    kind = torch.device(session.device).type
    fully_shard(model, mesh=torch.distributed.init_device_mesh(kind, (session.world_size,)))
    load_file(session, {"model": model.state_dict()}, path)
    return {key: value.full_tensor() for key, value in model.state_dict().items()}
