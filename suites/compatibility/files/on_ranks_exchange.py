"""Files that pass between the subject and another implementation of torch's format, in both directions."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from dcp_conformance import fixtures
from dcp_conformance.fixtures.targets import distribute
from dcp_conformance.fixtures.values import expected
from dcp_conformance.harness.backend.blobs import FileBlobs
from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.harness.backend.resolve import resolve
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.compatibility.files.on_ranks_fixtures import (
    UNFLATTENED,
    cases_in_torch_files,
    load_case,
    mesh_of,
    together,
    unpacked,
    without,
)
from dcp_conformance.suites.compatibility.files.on_ranks_torch_files import found, planted, stored_metadata

# Structures, dtypes and layouts of every kind, under one key each.
PARTS = ("training", "nested", "dtypes", "layouts")


def exchange(session: Session, peer: str) -> dict[str, Any] | None:
    """Report what `peer` (a backend's name) makes of the subject's files (`there`), and the subject of its (`back`).

    Each is {"left_out", "attempt", "unlike"}; None where stored bytes are beyond reach.
    """
    if "torch_format" in session.storage.unsupported:
        return None
    try:
        other = resolve(peer, {}, session.spec.folder)
    except UsageError as error:
        away = {"left_out": str(error).splitlines()[0]}
        return {"there": away, "back": away}
    with mesh_of(session) as mesh:
        there, back = _there(session, other, mesh), _back(session, other, mesh)
    return None if there is None or back is None else {"there": there, "back": back}


def load_elsewhere(session: Session, release: str, peer: str) -> list[dict[str, Any]]:
    """Load the cases of a release with `peer`, for comparison; empty where there is no such implementation."""
    try:
        other = resolve(peer, {}, session.spec.folder)
    except UsageError:
        return []
    assert other.load is not None and other.reader is not None
    found = []
    with mesh_of(session) as mesh:
        for case in cases_in_torch_files(release, mesh):
            if any(importlib.util.find_spec(module) is None for module in case.needs):
                continue
            reader = other.reader(unpacked(session, release, case))
            planner = None if case.flatten else other.utilities["DefaultLoadPlanner"](**UNFLATTENED)
            load = functools.partial(other.load, storage_reader=reader, planner=planner)
            found.append(load_case(session, release, case, mesh, load))
    return found


def _there(session: Session, other: Backend, mesh: Any) -> dict[str, Any] | None:
    whole, checkpoint_id, folder = _state(session), session.new_id("there"), _folder(session, "there")
    session.save(_rows(whole, mesh), checkpoint_id)
    together(session)
    files = found(session, checkpoint_id)
    if files is None:
        return None
    if _transformed(files):
        return {"left_out": "its entries are transformed, which only its own reader can undo"}
    if session.rank == 0:
        for name, data in files.items():
            Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, name).write_bytes(data)
    together(session)
    target = _columns(blank(whole), mesh)
    assert other.load is not None and other.reader is not None
    attempt = session.attempt(other.load, target, storage_reader=other.reader(folder))
    unlike = differences(_columns(whole, mesh), target) if attempt.ok else []
    return {"left_out": "", "attempt": attempt, "unlike": unlike}


def _back(session: Session, other: Backend, mesh: Any) -> dict[str, Any] | None:
    whole, folder = _state(session), _folder(session, "back")
    assert other.save is not None and other.writer is not None
    other.save(_rows(whole, mesh), storage_writer=other.writer(folder))
    together(session)
    blobs = FileBlobs(folder)
    files = {name: blobs.read(name) for name in blobs.names()} if session.rank == 0 else {}
    checkpoint_id = planted(session, files, "back")
    if checkpoint_id is None:
        return None
    together(session)
    target = _columns(blank(whole), mesh)
    attempt = session.attempt(session.load, target, checkpoint_id)
    unlike = differences(_columns(whole, mesh), target) if attempt.ok else []
    return {"left_out": "", "attempt": attempt, "unlike": unlike}


def _state(session: Session) -> dict[str, Any]:
    newest = fixtures.releases()[-1]
    unsupported = session.storage.unsupported
    parts = [part for part in PARTS if part != "layouts" or "layouts" not in unsupported]
    state = {part: without(unsupported, expected(newest, part), fixtures.case(newest, part)) for part in parts}
    # What this torch cannot copy, float4 with 2.9, its own storage cannot exchange either.
    state["dtypes"] = {name: value for name, value in state["dtypes"].items() if _is_copied(value)}
    return state


def _is_copied(tensor: torch.Tensor) -> bool:
    try:
        tensor.clone()
    except NotImplementedError:
        return False
    return True


def _rows(state: Any, mesh: Any) -> Any:
    """Return a state whose tensors are cut along their first dimension; nothing is sent."""
    if mesh is None:
        return state
    if isinstance(state, dict):
        return {key: _rows(value, mesh) for key, value in state.items()}
    if not isinstance(state, torch.Tensor) or not state.dim():
        return state
    cut: DTensor = distribute_tensor(state.detach(), mesh, [Shard(0)], src_data_rank=None)
    return cut


def _columns(state: dict[str, Any], mesh: Any) -> dict[str, Any]:
    """Return a state whose tensors are cut along their last dimension."""
    return state if mesh is None else distribute(state, mesh, flatten=True)


def _transformed(files: dict[str, bytes]) -> bool:
    entries = getattr(stored_metadata(files), "storage_data", None) or {}
    return any(getattr(entry, "transform_descriptors", None) for entry in entries.values())


def _folder(session: Session, name: str) -> str:
    return os.path.join(session.spec.scratch, f"{session.spec.place}-peer-{name}")
