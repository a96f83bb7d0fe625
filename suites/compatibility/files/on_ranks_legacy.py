"""Checkpoints as older releases of torch wrote them, made by hand and read by the subject."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch.distributed._shard.sharded_tensor.metadata import TensorProperties as ShardedTensorProperties
from torch.distributed.checkpoint.metadata import StorageMeta

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.compatibility.files.on_ranks_torch_files import (
    METADATA,
    Making,
    found,
    planted,
    stored_metadata,
    torch_files,
)

OLD_PROPERTIES = b"torch.distributed._shard.sharded_tensor.metadata"


def load_older_properties(session: Session) -> list[Difference] | None:
    """Load tensors whose properties have the class that sharded tensors had up to 2.2."""
    state = {"a": coded(1, (4, 4), version=1), "b": coded(2, (3,), version=1, dtype=torch.int64)}
    files = torch_files(state, Making(version=None, properties=ShardedTensorProperties))
    assert OLD_PROPERTIES in files[METADATA], "the metadata does not use the older class"
    return _loaded(session, state, files)


def load_later_metadata(session: Session, what: str) -> list[Difference] | None:
    """Metadata as later writers may leave it: with a field that nobody knows yet, or in another pickle protocol."""
    state = {"a": coded(1, (4, 4), version=1), "b": coded(2, (3,), version=1, dtype=torch.int64)}
    files = torch_files(state)
    metadata = pickle.loads(files[METADATA])
    if what == "field":
        metadata.written_by = "a later release"
        metadata.storage_meta = StorageMeta(save_id="save")
        metadata.storage_meta.region = "somewhere"
    protocol = int(what) if what.isdigit() else pickle.DEFAULT_PROTOCOL
    return _loaded(session, state, {**files, METADATA: pickle.dumps(metadata, protocol=protocol)})


def load_layout_of_2_3(session: Session) -> list[Difference] | None:
    """Report what 2.3 wrote of a nested state: dicts and lists without tensors are one entry each."""
    state = nested(objects="objects" not in session.storage.unsupported)
    return _loaded(session, state, files_of_2_3(state))


def load_string_into_dict(session: Session) -> tuple[Attempt, list[Difference]]:
    """Load a checkpoint of today whose entry `cfg` is a string into a dict `cfg`; report how the dict was changed."""
    checkpoint_id = session.new_id()
    session.save({"t": torch.ones(2), "cfg": "a string"}, checkpoint_id)
    target = {"t": torch.zeros(2), "cfg": {"rate": 0.1}}
    attempt = session.attempt(session.load, target, checkpoint_id)
    return attempt, differences({"rate": 0.1}, target["cfg"], key="cfg")


def keys_around_a_legacy_load(session: Session) -> tuple[list[str], list[str]] | None:
    """Return the keys of a save before, and of a save after, a load of what 2.3 wrote."""
    state = nested(objects=True)
    before = _saved_keys(session, state, "before")
    legacy = planted(session, files_of_2_3(state))
    if before is None or legacy is None:
        return None
    session.load(blank(state), legacy)
    after = _saved_keys(session, state, "after")
    return None if after is None else (before, after)


def nested(*, objects: bool) -> dict[str, Any]:
    """Return the state that the layout of 2.3 and that of today split differently."""
    optimizer: dict[str, Any] = {"state": {"0": {"average": torch.ones(3)}}}
    state: dict[str, Any] = {"tensor": coded(1, (4, 4), version=1), "optim": optimizer}
    if objects:
        state["numbers"] = {"a": {"x": 1, "y": 2}, "b": {"z": 3}}
        state["list"] = [1, 2, 3, 4, 5, 6]
        optimizer["param_groups"] = [{"lr": 0.5, "params": [0, 1]}, {"lr": 0.25, "params": [2]}]
    return state


def files_of_2_3(state: dict[str, Any]) -> dict[str, bytes]:
    """Return the files that 2.3 wrote for `nested`."""
    nested_keys = ("optim.state.0.average", "optim.param_groups")
    paths = {key: tuple(key.split(".")) for key in nested_keys}
    values = {key: value for key, value in state.items() if key != "optim"}
    values["optim.state.0.average"] = state["optim"]["state"]["0"]["average"]
    if "param_groups" in state["optim"]:
        values["optim.param_groups"] = state["optim"]["param_groups"]
    return torch_files(values, Making(version=None, paths=paths))


def _loaded(session: Session, state: dict[str, Any], files: dict[str, bytes]) -> list[Difference] | None:
    checkpoint_id = planted(session, files)
    if checkpoint_id is None:
        return None
    target = blank(state)
    session.load(target, checkpoint_id)
    return differences(state, target)


def _saved_keys(session: Session, state: dict[str, Any], name: str) -> list[str] | None:
    checkpoint_id = session.new_id(name)
    session.save(state, checkpoint_id)
    files = found(session, checkpoint_id)
    return None if files is None else sorted(getattr(stored_metadata(files), "state_dict_metadata", {}))
