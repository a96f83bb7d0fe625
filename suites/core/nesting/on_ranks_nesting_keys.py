"""Keys that are no strings, mappings that hold nothing, and states made from a checkpoint alone."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject


def integer_keys(session: Session, place: str, leaf: str) -> list[Difference]:
    """Save values under integer keys at top level or nested."""
    if leaf == "objects" and "objects" in session.storage.unsupported:
        session.excuse("the storage takes no objects")
    keys = (0, 1, 10, -1, -12, 2**40)
    leaves = [coded(place, (3,), version=1) if leaf == "tensors" else 5 + place for place in range(len(keys))]
    values: dict[Any, Any] = dict(zip(keys, leaves, strict=True))
    state = values if place == "top" else {"outer": values, "list": [coded(99, (2,), version=1), values]}
    checkpoint_id, target = session.new_id(), blank(state)
    session.save(state, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(state, target)


def mixed_keys(session: Session) -> tuple[Attempt, Attempt, list[Difference]]:
    """Save a state whose top-level keys are of two types, then a load into a template like it."""
    state: dict[Any, Any] = {0: coded(1, (4,), version=1), "a": coded(2, (4,), version=1)}
    checkpoint_id, target = session.new_id(), blank(state)
    saved = session.attempt(session.save, state, checkpoint_id)
    loaded = session.attempt(session.load, target, checkpoint_id) if saved.ok else saved
    return saved, loaded, differences(state, target)


def empty_mappings(session: Session) -> tuple[Attempt, list[Difference]]:
    """Save empty mappings, load into a template that holds None in their places."""
    state = {"a": {}, "b": {"c": {}, "t": coded(1, (4,), version=1)}}  # type: dict[str, Any]
    checkpoint_id, target = session.new_id(), {"a": None, "b": {"c": None, "t": blank(state["b"]["t"])}}
    session.save(state, checkpoint_id)
    attempt = session.attempt(session.load, target, checkpoint_id)
    return attempt, differences(state, target) if attempt.ok else []


def rebuilt_keys(session: Session) -> list[str]:
    """Return the keys, written with their types, of a state that was made from a checkpoint without a template."""
    checkpoint_id = session.new_id()
    session.save({"outer": {0: coded(1, (3,), version=1), "name": coded(2, (3,), version=1)}}, checkpoint_id)
    rebuilt = into_subject(session.tool("_load_state_dict_from_keys"), storage_reader=session.reader(checkpoint_id))
    return sorted(repr(key) for key in rebuilt["outer"])


def set_by_path(session: Session) -> list[Difference]:
    """Set values by path in an empty dict, one after the other; what the dict is not."""
    put, root = session.tool("set_element"), {}  # type: tuple[Any, dict[str, Any]]
    for path, value in ((("k",), 10), (("k1", 2), 1), (("k1", 1), 99), (("k2", "a"), 7), (("k3", 1, "b", 0), 8)):
        into_subject(put, root, path, value)
    return differences({"k": 10, "k1": [None, 99, 1], "k2": {"a": 7}, "k3": [None, {"b": [8]}]}, root)


def get_by_path(session: Session) -> list[Difference]:
    """Read by paths that are there and that are not."""
    get, root = session.tool("get_element"), {"a": [0, 1], "b": [2, {"c": "d"}]}
    asked: dict[str, tuple[tuple[Any, ...], Any]] = {
        "a.0": (("a", 0), 0), "b.0": (("b", 0), 2), "b.1.c": (("b", 1, "c"), "d"), "c": (("c",), -1),
        "a.10": (("a", 33), -1),
        "b.88": (("b", 88), -1), "b.0.2": (("b", 0, 2), -1), "b.1.2": (("b", 1, 2), -1),
    }  # fmt: skip
    found: list[Difference] = []
    for name, (path, wanted) in asked.items():
        found += differences(wanted, into_subject(get, root, path, -1), key=name)
    return found
