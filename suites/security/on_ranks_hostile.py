"""Checkpoints that try to run code or to lead a reader elsewhere. What they would run makes a folder, no more."""

from __future__ import annotations

import builtins
import inspect
import io
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from dcp_conformance.harness.backend.blobs import is_local_path
from dcp_conformance.harness.faults import corruption, torch_entries
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.damaged import Damaged
from dcp_conformance.harness.subject.session import Session, into_subject

# Where a pickle may begin inside an object; more places are not tried.
MOST_PLACES = 24


class Hostile:
    """Pickles to a call that makes a folder."""

    def __init__(self, folder: str, how: str) -> None:
        self._folder, self._how = folder, how

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        if self._how == "os":
            return os.mkdir, (self._folder,)
        if self._how == "eval":
            return builtins.eval, (f"__import__('os').mkdir({self._folder!r})",)
        return torch._utils._rebuild_tensor_v2, (Hostile(self._folder, "os"), 0, (1,), (1,), False, {})


HOWS = ("os", "eval", "inside a tensor")


def _saved(session: Session) -> Damaged:
    """Save a state whose stored bytes can be changed; where they are beyond reach, the scenario ends."""
    state, checkpoint_id = _state(), session.new_id()
    session.save(state, checkpoint_id)
    blobs = session.stored_bytes(checkpoint_id)
    return Damaged(session, state, checkpoint_id, blobs, into_subject(corruption.contents, blobs))


def metadata_that_runs_code(session: Session) -> dict[str, Any]:
    """Loads after a pickle that runs code was put in place of the metadata, or of what follows a place in it."""
    session.needs("stored_bytes")
    saved = _saved(session)
    ran, tried = [], 0
    for name in saved.metadata_names:
        for start in _places(saved.stored[name]):
            for how in HOWS[:2]:
                tried += 1
                canary = _canary(session, f"{tried}")
                done = {name: saved.stored[name][:start] + pickle.dumps(Hostile(canary, how))}
                with corruption.inflicted(saved.blobs, done, saved.stored):
                    session.attempt(session.load, blank(saved.state), saved.id)
                if os.path.isdir(canary):
                    ran.append(f"a pickle from byte {start} of {name!r} on ran {how}")
    return {"ran": ran, "tried": tried}


def stored_objects_that_run_code(session: Session) -> dict[str, Any]:
    """Loads of tensors after a pickle that runs code was put in place of an object, or of what follows a place in it.

    Of the objects that read_metadata does not need: those with it are the business of another clause.
    """
    saved = _saved(session)
    others = set(saved.stored) - set(saved.metadata_names)
    ran, tried = [], 0
    for name in sorted(others):
        for start in _places(saved.stored[name]):
            for how in HOWS:
                tried += 1
                canary = _canary(session, f"data-{tried}")
                evil = pickle.dumps(Hostile(canary, how))
                forms = {"pickle": evil, "torch.save": torch_entries.saved_object(Hostile(canary, how))}
                for form, bytes_ in forms.items():
                    with corruption.inflicted(saved.blobs, {name: saved.stored[name][:start] + bytes_}, saved.stored):
                        session.attempt(session.load, blank(saved.state), saved.id)
                    if os.path.isdir(canary):
                        ran.append(f"a {form} of {how!r} from byte {start} of {name!r} on")
                        os.rmdir(canary)
    return {"ran": ran, "tried": tried}


def objects_that_run_code(session: Session) -> dict[str, list[str]]:
    """Give an object that runs code to planners told to be careful in each possible way, and report who ran it."""
    kind = session.tool("DefaultLoadPlanner")
    ran: dict[str, list[str]] = {}
    for options in [{}, *_careful(kind)]:
        told = ", ".join(f"{name}={value}" for name, value in options.items()) or "default"
        ran[told] = []
        for number, how in enumerate(HOWS[:2]):
            canary = _canary(session, f"object-{told}-{number}")
            session.attempt(_deliver, kind(**options), torch_entries.saved_object(Hostile(canary, how)))
            if os.path.isdir(canary):
                ran[told].append(how)
    return ran


def tensor_entry_that_runs_code(session: Session) -> dict[str, Any]:
    """Loads of a tensor whose entry in torch's format is a pickle that runs code: by how it was made."""
    saved = _saved(session)
    file = torch_entries.entry_of(saved.blobs, "first").relative_path
    rows = []
    for form in FORMS:
        for how in HOWS:
            canary = _canary(session, f"{form}-{how}".replace(" ", "-"))
            evil = FORMS[form](Hostile(canary, how))
            done = {
                file: saved.stored[file] + evil,
                torch_entries.METADATA: torch_entries.edited(
                    saved.blobs, "first", _placed(len(saved.stored[file]), len(evil))
                ),
            }
            target = {"first": blank(saved.state["first"])}
            with corruption.inflicted(saved.blobs, done, saved.stored):
                attempt = session.attempt(session.load, target, saved.id)
            rows.append({"form": form, "how": how, "attempt": attempt, "ran": os.path.isdir(canary)})
    return {"rows": rows}


FORMS: dict[str, Callable[[Any], bytes]] = {
    "torch.save": torch_entries.saved_object,
    "torch.save in the old format": lambda value: torch_entries.saved_object(
        value, _use_new_zipfile_serialization=False
    ),
    "pickle": pickle.dumps,
}


def paths_out_of_the_checkpoint(session: Session, how: str) -> dict[str, Any]:
    """Load with metadata that lead to a data file outside the checkpoint.

    how: by a relative path, one to a sibling whose name begins like the checkpoint's, an absolute path, or a link.
    """
    state, checkpoint_id = _state(), session.new_id()
    if not isinstance(checkpoint_id, str) or not is_local_path(checkpoint_id):
        session.excuse("an id of it is no local path, so no path can lead out of it")
    session.save(state, checkpoint_id)
    blobs = session.stored_bytes(checkpoint_id)
    file = torch_entries.entry_of(blobs, "first").relative_path
    outside = Path(f"{checkpoint_id}-beside" if how == "sibling" else _canary(session, f"outside-{how}"))
    outside.mkdir()
    os.rename(Path(checkpoint_id, file), outside / "elsewhere")
    path = _leading_out(how, Path(checkpoint_id), outside)
    changed = torch_entries.edited(blobs, "first", lambda entry: setattr(entry, "relative_path", path))
    into_subject(blobs.write, torch_entries.METADATA, changed)
    target = {"first": blank(state["first"])}
    attempt = session.attempt(session.load, target, checkpoint_id)
    return {"attempt": attempt, "path": how, "got": not differences({"first": state["first"]}, target)}


def _leading_out(how: str, root: Path, outside: Path) -> str:
    if how == "link":
        (root / "inside").symlink_to(outside)
        return "inside/elsewhere"
    return str(outside / "elsewhere") if how == "absolute" else os.path.relpath(outside / "elsewhere", root)


def _placed(offset: int, length: int) -> Callable[[Any], None]:
    def change(entry: Any) -> None:
        entry.offset, entry.length = offset, length

    return change


def _deliver(planner: Any, data: bytes) -> None:
    """Give a load planner an object as a reader would: the item, and a stream of what was stored for it."""
    from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata

    metadata = Metadata(state_dict_metadata={"object": BytesStorageMetadata()}, planner_data={"object": ("object",)})
    into_subject(planner.set_up_planner, {"object": None}, metadata, True)
    plan = into_subject(planner.create_local_plan)
    announce("fault", phase="load_bytes", what="hostile object")
    into_subject(planner.load_bytes, plan.items[0], io.BytesIO(data))


def _careful(kind: Any) -> Iterator[dict[str, bool]]:
    """Ways in which a planner may be told whom to trust: its on-off options whose names speak of that."""
    for name, parameter in inspect.signature(kind).parameters.items():
        if any(word in name for word in ("trust", "safe", "pickle", "weights_only")):
            default = parameter.default
            yield {name: not default if isinstance(default, bool) else True}


def _places(data: bytes) -> list[int]:
    """Return the start of an object, and each place in it at which a pickle or a zip archive seems to begin."""
    marks = [at for at in range(1, len(data) - 1) if data[at] == 0x80 and 2 <= data[at + 1] <= 5]
    archive = [at for at in (data.find(b"PK\x03\x04"),) if at > 0]
    return [0, *archive, *marks[:MOST_PLACES]]


def _canary(session: Session, name: str) -> str:
    return str(Path(session.spec.scratch).parent / f"{session.spec.place}-canary-{name}")


def _state() -> dict[str, Any]:
    return {"first": coded(1, (16,), version=1), "second": coded(2, (16,), version=1)}
