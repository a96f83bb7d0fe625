"""Call save and load in the ways that their signatures promise, and see what they call in turn."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.described import entries
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.looking import (
    NamedReader,
    NamedWriter,
    NewReader,
    NewWriter,
    OldReader,
    OldWriter,
    Step,
    engine_call,
    in_fresh_folder,
    listing,
    uses_storage,
    warned_by,
    watched,
)
from dcp_conformance.harness.subject.session import Session, into_subject

NO_STORE = "abc://abc.abc"  # recognised by no store


def small_state(version: int = 1) -> dict[str, Any]:
    """Return two tensors; no objects, so that it suits every storage."""
    return {"t": coded(1, (4, 5), version=version), "u": coded(2, (3,), version=version)}


def save_and_describe(session: Session) -> dict[str, Any]:
    """Report what the returned metadata says, as plain data."""
    state = {**small_state(), f"own{session.rank}": coded(9, (2,), version=session.rank)}
    defaults = {"planner": None, "process_group": None, "no_dist": False}
    given = {name: value for name, value in defaults.items() if session.takes("save", name)}
    return _described(session, session.save(state, session.new_id(), **given))


def save_alone_and_describe(session: Session, how: str) -> dict[str, Any]:
    """As `save_and_describe`, of a save in which each rank is on its own."""
    state = {**small_state(), f"own{session.rank}": coded(9, (2,), version=session.rank)}
    if how == "no_dist":
        return _described(session, session.save(state, session.new_id(f"rank{session.rank}"), no_dist=True))
    session.needs("rank_local_metadata")
    return _described(session, session.save(state, session.new_id(), use_collectives=False))


def _described(session: Session, metadata: Any) -> dict[str, Any]:
    """Report what Metadata says.

    Nothing where there is none. An engine with a store of its own may have no Metadata.
    """
    if not isinstance(getattr(metadata, "state_dict_metadata", None), Mapping):
        if not session.drives_storage:
            session.excuse("it has a store of its own, and its save returns no Metadata of torch's")
        return {}
    return entries(metadata)


def positional_storage(session: Session) -> dict[str, Any]:
    """Writer and reader as the second positional argument: what comes back, and which warnings only that gives."""
    if not uses_storage(session):
        session.excuse("the engine's save and load take no storage of others")
    state, target, other = small_state(), blank(small_state()), blank(small_state())
    a, b = session.new_id("positional"), session.new_id("keyword")
    usual = warned_by(engine_call, session, "save", state, storage_writer=session.writer(b))
    saving = warned_by(engine_call, session, "save", state, session.writer(a)) - usual
    usual = warned_by(engine_call, session, "load", other, storage_reader=session.reader(b))
    loading = warned_by(engine_call, session, "load", target, session.reader(a)) - usual
    return {"differences": differences(state, target), "saving": sorted(saving), "loading": sorted(loading)}


def ids_alone(session: Session) -> dict[str, list[Difference]]:
    """Save and load by nothing but an id: a path, and the same kind of place as an fsspec URL."""
    place = os.path.join(session.spec.scratch, f"{session.spec.place}-alone")
    found = {}
    for kind, checkpoint_id in (("path", f"{place}-path"), ("fsspec URL", f"file://{place}-url")):
        state, target = small_state(), blank(small_state())
        engine_call(session, "save", state, checkpoint_id=checkpoint_id)
        engine_call(session, "load", target, checkpoint_id=checkpoint_id)
        found[kind] = differences(state, target)
        where = checkpoint_id.removeprefix("file://")
        if not os.path.exists(where):
            found[kind].append(Difference(checkpoint_id, (), "a checkpoint at that place", "nothing there"))
    return found


def unknown_id(session: Session) -> dict[str, Any]:
    """Save and load by an id that no store knows, and what appeared in the working directory."""
    return _refusals(session, checkpoint_id=NO_STORE)


def nothing_named(session: Session) -> dict[str, Any]:
    """Save and load with neither id nor storage, and what appeared in the working directory."""
    return _refusals(session)


def own_store_refuses(session: Session) -> dict[str, Any]:
    """As `unknown_id`."""
    own = session.engine.writer
    if own is None or into_subject(_validator(own), NO_STORE):
        session.excuse("the engine has no store of its own that would refuse such an id")
    return _refusals(session, checkpoint_id=NO_STORE)


def falsy_storage(session: Session) -> dict[str, Any]:
    """Save and load through a writer and a reader that count as false, with an id passed along."""
    if not uses_storage(session):
        session.excuse("the engine's save and load take no storage of others")
    checkpoint_id, state, target = session.new_id(), small_state(), blank(small_state())
    writing: list[Step] = []
    reading: list[Step] = []
    writer = _falsy(watched(session.writer(checkpoint_id), "writer", writing))
    save = session.attempt(session.save, state, checkpoint_id, writer=writer, style="passed")
    if not any(who == "writer.write_data" for who, _ in writing):
        return {"save": save, "written": False}
    reader = _falsy(watched(session.reader(checkpoint_id), "reader", reading))
    load = session.attempt(session.load, target, checkpoint_id, reader=reader, style="passed")
    read = any(who == "reader.read_data" for who, _ in reading)
    return {"save": save, "written": True, "load": load, "read": read, "differences": differences(state, target)}


def id_passed_along(session: Session) -> dict[str, Any]:
    """Writer and reader made for one id, and another id passed along with them."""
    if not uses_storage(session):
        session.excuse("the engine's save and load take no storage of others")
    made_for, passed = session.new_id("made-for"), session.new_id("passed")
    saving: list[Step] = []
    loading: list[Step] = []
    state, target = small_state(1), blank(small_state())
    session.save(state, passed, writer=watched(session.writer(made_for), "writer", saving), style="passed")
    elsewhere = session.attempt(session.load, blank(state), made_for)
    session.save(small_state(2), made_for)
    session.load(target, passed, reader=watched(session.reader(made_for), "reader", loading), style="passed")
    return {
        "saving": saving, "loading": loading, "elsewhere": elsewhere, "id": str(passed)[:400],
        "differences": differences(state, target),
    }  # fmt: skip


def save_ids_of_one_writer(session: Session) -> list[str | None] | None:
    """Report the save ids of two saves through one writer without an id; None where that cannot be seen."""
    if not uses_storage(session, "save") or "overwrite" in session.storage.unsupported:
        return None
    checkpoint_id = session.new_id()
    writer = session.writer(checkpoint_id)
    found = [session.save(small_state(version), checkpoint_id, writer=writer) for version in (1, 2)]
    return [getattr(getattr(metadata, "storage_meta", None), "save_id", None) for metadata in found]


def convenience_wrapper(session: Session) -> Any:
    """Save and load through the engine's _Checkpointer; None where it has none."""
    kind = session.engine.utilities.get("_Checkpointer")
    if kind is None:
        return None
    checkpoint_id, state, target = session.new_id(), small_state(), blank(small_state())
    announce("call", owner=session.engine_owner, part="E", name="_Checkpointer")
    helper = into_subject(kind, session.writer(checkpoint_id), session.reader(checkpoint_id))
    saved = session.attempt(into_subject, helper.save, state)
    loaded = session.attempt(into_subject, helper.load, target) if saved.ok else saved
    return {"save": saved, "load": loaded, "differences": differences(state, target)}


def alone(session: Session, *arguments: str) -> list[Difference]:
    """Rank 0 saves and loads by itself, an empty state and one with tensors; other ranks do nothing."""
    if session.rank != 0:
        return []
    given = dict.fromkeys(arguments, True)
    found = []
    for name, state in (("empty", {}), ("tensors", small_state())):
        target = blank(state)
        session.save(state, session.new_id(name), **given)
        session.load(target, session.new_id(name), **given)
        found += differences(state, target)
    return found


def save_steps(session: Session, collectives: bool) -> list[Step]:
    """Return the calls of a save on this rank, in order."""
    if not uses_storage(session, "save"):
        session.excuse("the engine's save and load take no storage of others")
    if not collectives:
        session.needs("rank_local_metadata")
    seen: list[Step] = []
    checkpoint_id = session.new_id()
    given: dict[str, Any] = {} if collectives else {"use_collectives": False}
    if session.takes("save", "planner"):
        given["planner"] = watched(session.tool("DefaultSavePlanner")(), "planner", seen)
    state = {**small_state(), f"own{session.rank}": coded(9, (2,), version=session.rank)}
    session.save(
        state, checkpoint_id, writer=watched(session.writer(checkpoint_id), "writer", seen), style="passed", **given
    )
    return seen


def load_steps(session: Session) -> list[Step]:
    """Return the calls of a load on this rank, in order."""
    if not uses_storage(session):
        session.excuse("the engine's save and load take no storage of others")
    checkpoint_id, seen = session.new_id(), list[Step]()
    session.save(small_state(), checkpoint_id)
    given = {}
    if session.takes("load", "planner"):
        given["planner"] = watched(session.tool("DefaultLoadPlanner")(), "planner", seen)
    reader = watched(session.reader(checkpoint_id), "reader", seen)
    session.load(blank(small_state()), checkpoint_id, reader=reader, style="passed", **given)
    return seen


def storage_of_old_and_new(session: Session) -> dict[str, Any]:
    """Round trips through set-up methods with the original arguments only, with further ones, with room for any."""
    if not uses_storage(session):
        session.excuse("the engine's save and load take no storage of others")
    found: dict[str, Any] = {}
    kinds = (("old", OldWriter, OldReader), ("named", NamedWriter, NamedReader), ("new", NewWriter, NewReader))
    for kind, writer_kind, reader_kind in kinds:
        checkpoint_id, state, target, given = session.new_id(kind), small_state(), blank(small_state()), list[str]()
        session.save(state, checkpoint_id, writer=writer_kind(session.writer(checkpoint_id), given))
        session.load(target, checkpoint_id, reader=reader_kind(session.reader(checkpoint_id), given))
        found[kind] = {"differences": differences(state, target), "given": given}
    return found


def old_planner(session: Session) -> dict[str, Any]:
    """Make a round trip with a save planner that knows no storage_meta, and the warnings that only it gives."""
    kind = session.tool("DefaultSavePlanner")

    class Old(kind):  # type: ignore[misc, valid-type]
        def set_up_planner(self, state_dict: Any, is_coordinator: bool = False) -> None:
            super().set_up_planner(state_dict=state_dict, is_coordinator=is_coordinator)

    state, target = small_state(), blank(small_state())
    usual = warned_by(session.save, state, session.new_id("new"), planner=kind())
    warned = warned_by(session.save, state, session.new_id("old"), planner=Old()) - usual
    session.load(target, session.new_id("old"))
    return {"differences": differences(state, target), "warned": sorted(warned)}


class Counting:
    """A Stateful that counts how often it was asked for its state, or given one."""

    asked = 0

    def state_dict(self) -> dict[str, Any]:
        type(self).asked += 1
        return {"inside": 1}

    def load_state_dict(self, state: Any) -> None:
        type(self).asked += 1


def deprecated_calls(session: Session) -> dict[str, Any] | None:
    """save_state_dict and load_state_dict with another coordinator; None where the engine does not have them."""
    names = ("save_state_dict", "load_state_dict")
    if any(name not in session.engine.utilities for name in names):
        return None
    save, load = (session.engine.utilities[name] for name in names)
    announce("call", owner=session.engine_owner, part="E", name=names[0])
    checkpoint_id, target = session.new_id(), blank(small_state())
    saving: list[Step] = []
    loading: list[Step] = []
    Counting.asked = 0
    state = {**small_state(), "stateful": Counting()}
    into_subject(save, state, watched(session.writer(checkpoint_id), "writer", saving), coordinator_rank=1)
    into_subject(load, target, watched(session.reader(checkpoint_id), "reader", loading), coordinator_rank=1)
    return {
        "saving": saving, "loading": loading, "asked": Counting.asked, "differences": differences(small_state(), target)
    }  # fmt: skip


def not_a_mapping(session: Session) -> dict[str, Any]:
    """Saves of what is no mapping, the storage calls that each made, and how a load of the id ends afterwards."""
    found: dict[str, Any] = {}
    value = coded(1, (2,), version=1)
    wrong: dict[str, Any] = {
        "None": None, "a list": [value], "a module": torch.nn.BatchNorm1d(2), "an empty list": [],
        "an empty tuple": (), "a list of pairs": [("t", value)], "an empty text": "",
    }  # fmt: skip
    for name, state in wrong.items():
        checkpoint_id, seen = session.new_id(name.replace(" ", "-")), list[Step]()
        given = {}
        if uses_storage(session, "save"):
            given["writer"] = watched(session.writer(checkpoint_id), "writer", seen)
        save = session.attempt(session.save, state, checkpoint_id, **given)
        found[name] = {
            "save": save,
            "steps": seen,
            "load": session.attempt(session.load, blank(small_state()), checkpoint_id),
        }
    return found


def _refusals(session: Session, **arguments: Any) -> dict[str, Any]:
    with in_fresh_folder(session) as folder:
        attempts: dict[str, Attempt] = {
            name: session.attempt(engine_call, session, name, small_state(), **arguments) for name in ("save", "load")
        }
        return {**attempts, "appeared": listing(folder)}


def _falsy(proxy: Any) -> Any:
    kind, read = type(proxy), object.__getattribute__
    falsy = type(f"falsy {kind.__name__}", (kind,), {"__len__": lambda self: 0, "__bool__": lambda self: False})
    return falsy(read(proxy, "_proxied"), read(proxy, "_methods"), read(proxy, "_tap"))


def _validator(maker: Any) -> Any:
    if hasattr(maker, "validate_checkpoint_id"):
        return maker.validate_checkpoint_id
    return lambda checkpoint_id: maker(NO_STORE).validate_checkpoint_id(checkpoint_id)
