"""Metadata that nobody can use: of another program, of another kind, or with classes that no release has."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from typing import Any

import torch

from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.compatibility.files.on_ranks_torch_files import METADATA, planted, torch_files, torch_saved

STATE = {"t": torch.arange(3.0), "u": torch.ones(2, 2)}
CLASSES = ("Metadata", "TensorStorageMetadata", "TensorProperties", "_StorageInfo")


def load_foreign_metadata(session: Session) -> list[dict[str, Any]] | None:
    """Loads of a checkpoint whose metadata was replaced; None where stored bytes are beyond reach.

    Each is {"what", "attempt", "unlike", "unknown": names in it that no release knows, "place": the checkpoint's id}.
    Keys that are missing are allowed where the engine takes a planner, so that metadata which is taken for empty is not
    noticed by chance.
    """
    seen = []
    for number, (what, content, unknown) in enumerate(_contents()):
        checkpoint_id = planted(session, {**torch_files(STATE), METADATA: content}, f"foreign-{number}")
        if checkpoint_id is None:
            return None
        target = {key: torch.zeros_like(value) for key, value in STATE.items()}
        attempt = session.attempt(session.load, target, checkpoint_id, **_partial(session))
        unlike = differences(STATE, target) if attempt.ok else []
        seen.append(
            {"what": what, "attempt": attempt, "unlike": unlike, "unknown": unknown, "place": str(checkpoint_id)}
        )
    return seen


def _partial(session: Session) -> dict[str, Any]:
    if not session.takes("load", "planner"):
        return {}
    return {"planner": into_subject(session.tool("DefaultLoadPlanner"), allow_partial_load=True)}


def _contents() -> list[tuple[str, bytes, list[str]]]:
    """Report what stands in the place of the metadata, and names in it that no release knows."""
    sound = pickle.loads(torch_files(STATE)[METADATA])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("config.json", "{}")
    found = [
        ("a text", b"This is no checkpoint.\n", []),
        ("JSON", json.dumps({"t": {"dtype": "F32", "shape": [3]}}).encode(), []),
        ("a ZIP archive", archive.getvalue(), []),
        ("a file of torch.save", torch_saved(STATE), []),
        ("a pickled dict", pickle.dumps({"state_dict_metadata": {}}), []),
        ("a pickled list", pickle.dumps([1, 2]), []),
        ("a pickled None", pickle.dumps(None), []),
        ("a class of a module that is not there", _renamed(sound, "Metadata", module="conformance_not_there"),
         ["conformance_not_there"]),
    ]  # fmt: skip
    return found + [
        (f"an unknown class in the place of {name}", _renamed(sound, name), [f"{name}OfTomorrow"]) for name in CLASSES
    ]


def _renamed(metadata: Any, name: str, *, module: str | None = None) -> bytes:
    """Pickle `metadata` with one class under another name: protocol 2 names classes on lines of their own."""
    parent = {"_StorageInfo": "filesystem"}.get(name, "metadata")
    place = f"torch.distributed.checkpoint.{parent}"
    old = f"c{place}\n{name}\n".encode()
    new = f"c{module or place}\n{name if module else f'{name}OfTomorrow'}\n".encode()
    data = pickle.dumps(metadata, protocol=2)
    assert old in data, f"the pickle does not name {name}"
    return data.replace(old, new)
