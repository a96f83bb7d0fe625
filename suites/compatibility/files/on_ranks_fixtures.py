"""Checkpoints that releases of torch wrote, loaded by the subject on one rank and, cut otherwise, on several."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from dcp_conformance import fixtures
from dcp_conformance.fixtures.targets import as_saved, distribute
from dcp_conformance.fixtures.values import expected
from dcp_conformance.harness.states.checklist import EXOTIC_DTYPES
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.sharding import own_groups
from dcp_conformance.harness.states.values import blank
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.compatibility.files.on_ranks_torch_files import planted

# What a case needs of a storage beyond torch's format; a storage that opted out of it is not asked for the case.
NEEDED = {"layouts": "layouts", "rank_local": "rank_local_metadata"}
# Of the planner for a case whose mappings are one object each.
UNFLATTENED = {"flatten_state_dict": False, "flatten_sharded_tensors": False}


def facts(session: Session) -> dict[str, Any]:
    """Report what decides which checkpoints this subject must load: name, versions, refusals, offers."""
    return {
        "subject": session.spec.under_test,
        "torch": str(torch.__version__),
        "python": list(sys.version_info[:2]),
        "unsupported": sorted(session.storage.unsupported),
        "offers": sorted(session.storage.offers),
    }


def load_release(session: Session, release: str) -> list[dict[str, Any]] | None:
    """Every case of a release in torch's files, loaded; None where stored bytes are beyond reach.

    Each is {"case", "left_out": why it was not asked for (then nothing follows), "attempt", "unlike"}.
    """
    found: list[dict[str, Any]] = []
    with mesh_of(session) as mesh:
        for case in cases_in_torch_files(release, mesh):
            left_out = _left_out(session, case)
            if left_out:
                found.append({"case": case.name, "left_out": left_out})
                continue
            checkpoint_id = _planted(session, release, case)
            if checkpoint_id is None:
                return None
            found.append(_load(session, release, case, mesh, checkpoint_id))
    return found


def cases_in_torch_files(release: str, mesh: Any) -> list[fixtures.Case]:
    """Return the cases that a world can load: one of single ranks only where there are the ranks that wrote it."""
    return [case for case in fixtures.cases(release) if case.storage == "torch" and (case.reshards or mesh)]


def load_single_ranks(session: Session, releases: list[str]) -> list[dict[str, Any]] | None:
    """Load in one process what two ranks saved without collectives, each with metadata of its own alone."""
    found = []
    for release in releases:
        case = fixtures.case(release, "rank_local")
        checkpoint_id = _planted(session, release, case)
        if checkpoint_id is None:
            return None
        loaded = _load(session, release, case, None, checkpoint_id)
        found.append({**loaded, "case": f"{case.name} of torch {release}"})
    return found


def load_huggingface(session: Session, release: str) -> list[dict[str, Any]]:
    """Load the cases of a release in HuggingFace files through the subject's reader of them; see `load_release`."""
    found = []
    with mesh_of(session) as mesh:
        for case in fixtures.cases(release):
            if case.storage == "huggingface":
                folder = unpacked(session, release, case)
                reader = into_subject(session.tool("HuggingFaceStorageReader"), folder)
                found.append(_load(session, release, case, mesh, folder, reader=reader))
    return found


@contextlib.contextmanager
def mesh_of(session: Session) -> Iterator[Any]:
    """Make a mesh of all ranks; None for one rank. Of CPU tensors: that is what old checkpoints hold."""
    if session.world_size == 1:
        yield None
        return
    with own_groups():
        yield torch.distributed.init_device_mesh("cpu", (session.world_size,))


def _left_out(session: Session, case: fixtures.Case) -> str:
    missing = [module for module in case.needs if importlib.util.find_spec(module) is None]
    if missing:
        return f"the package {missing[0]} is not installed"
    cut_otherwise = case.reshards and (case.world, session.world_size) != (1, 1)
    needed = [NEEDED.get(case.name), "resharding" if cut_otherwise else None]
    for capability in needed:
        if capability in session.storage.unsupported:
            return f"{capability} is not supported"
    if not case.flatten and not session.takes("load", "planner"):
        return "the engine takes no planner"
    return ""


def _load(
    session: Session, release: str, case: fixtures.Case, mesh: Any, checkpoint_id: Any, **arguments: Any
) -> dict[str, Any]:
    """Load one case through the subject; see `load_case`."""
    if not case.flatten:
        arguments["planner"] = into_subject(session.tool("DefaultLoadPlanner"), **UNFLATTENED)
    load = functools.partial(session.load, checkpoint_id=checkpoint_id, **arguments)
    return load_case(session, release, case, mesh, load)


def load_case(
    session: Session, release: str, case: fixtures.Case, mesh: Any, load: Callable[[dict[str, Any]], Any]
) -> dict[str, Any]:
    """Load one case into other bits of the same structure; an attempt, and the differences where it returned."""
    whole = without(session.storage.unsupported, expected(release, case.name), case)
    target = _cut(blank(whole), case, mesh)
    attempt = session.attempt(load, target)
    unlike = differences(_cut(whole, case, mesh), target) if attempt.ok else []
    return {"case": case.name, "left_out": "", "attempt": attempt, "unlike": unlike}


def _cut(state: dict[str, Any], case: fixtures.Case, mesh: Any) -> dict[str, Any]:
    if mesh is None:
        return state
    return as_saved(state, mesh) if not case.reshards else distribute(state, mesh, flatten=case.flatten)


def without(unsupported: Mapping[str, str], state: dict[str, Any], case: fixtures.Case) -> dict[str, Any]:
    """Report what remains of a state for a storage that keeps no objects or no unusual dtypes."""
    if case.name == "dtypes" and "exotic_dtypes" in unsupported:
        state = {key: value for key, value in state.items() if key not in EXOTIC_DTYPES}
    if "objects" not in unsupported:
        return state
    if not case.flatten:
        return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    return dict(_tensors_of(state))


def _tensors_of(value: Any) -> Any:
    """Return a state without its objects.

    A list with an object in it goes as a whole, so that places stay what they are.
    """
    if not isinstance(value, dict):
        return value
    kept = {key: _tensors_of(item) for key, item in value.items() if not isinstance(item, list | tuple)}
    return {
        key: item for key, item in kept.items() if isinstance(item, torch.Tensor) or (isinstance(item, dict) and item)
    }


def _planted(session: Session, release: str, case: fixtures.Case) -> Any:
    """Return the id of a fixture that rank 0 wrote past the backend; None where stored bytes are beyond reach."""
    files = fixtures.files(release, case.name) if session.rank == 0 else {}
    checkpoint_id = planted(session, files, f"{release}-{case.name}")
    together(session)
    return checkpoint_id


def unpacked(session: Session, release: str, case: fixtures.Case) -> str:
    """Return a local folder of this trial with the files of a fixture, the same on every rank."""
    folder = os.path.join(session.spec.scratch, f"{session.spec.place}-{session.world_size}-{release}-{case.name}")
    if session.rank == 0 and not os.path.exists(folder):
        fixtures.unpack(release, case.name, Path(folder))
    together(session)
    return folder


def together(session: Session) -> None:
    """Return when all ranks are here."""
    if session.world_size > 1:
        torch.distributed.barrier()
