"""Load into mappings of Stateful objects and plain values, and into Stateful objects that have nothing to load."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.core.loading.on_ranks_in_place_stateful import Nested


class Bare:
    """A Stateful object of the tensors that it was given, which may be none; it notes its calls."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.calls: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        """Report what a save stores, and a load fills."""
        self.calls.append("state_dict")
        return dict(self.state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the loaded state."""
        self.calls.append("load_state_dict")


def mixed_mappings_stay(session: Session) -> tuple[list[Difference], list[str]]:
    """Load into mappings of plain values and Stateful objects: plain values that differ, mappings that are others."""
    if "objects" in session.storage.unsupported:
        session.excuse("the storage takes no objects, and an engine may store a nested Stateful as one")
    checkpoint_id, target = session.new_id(), _mixed(version=2)
    session.save(_mixed(version=1), checkpoint_id)
    held = {name: (item, type(item)) for name, item in _mappings(target).items()}
    session.load(target, checkpoint_id)
    after = _mappings(target)
    replaced = [name for name, (item, kind) in held.items() if after[name] is not item or type(after[name]) is not kind]
    return differences(_plain(_mixed(version=1)), _plain(target)), replaced


def _mixed(*, version: int) -> dict[str, Any]:
    filled: defaultdict[str, Any] = defaultdict(list)
    for place, made in enumerate((state := {"plain": {}, "ordered": OrderedDict(), "default": filled}).values()):
        made["first"] = coded(place, (3,), version=version)
        made["inner"] = {"step": version, "it": Nested(coded(10 + place, (4,), version=version))}
        made["module"] = Nested(coded(20 + place, (4,), version=version))
        made["last"] = version
    return state


def _mappings(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, **{f"{name}.inner": item["inner"] for name, item in state.items()}}


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{name}.{key}": value
        for name, item in _mappings(state).items()
        for key, value in item.items()
        if key in ("first", "last", "step")
    }


def calls_alone(session: Session, state: str, partial: bool) -> tuple[list[str], list[str]]:
    """Report the calls of a Stateful, with or without tensors, during a save beside a tensor and a load of it alone."""
    if partial and not ("DefaultLoadPlanner" in session.engine.utilities and session.takes("load", "planner")):
        session.excuse("nobody can ask this engine for a partial load: it supplies no planners by torch's names")
    values: dict[str, Any] = {} if state == "empty" else {"value": coded(1, (3,), version=1)}
    checkpoint_id, saved, loaded = session.new_id(), Bare(values), Bare(values)
    session.save({"it": saved, "other": coded(2, (3,), version=1)}, checkpoint_id)
    planner = {"planner": _partial(session)} if partial else {}
    session.load({"it": loaded}, checkpoint_id, **planner)
    return saved.calls, loaded.calls


def _partial(session: Session) -> Any:
    return into_subject(session.tool("DefaultLoadPlanner"), allow_partial_load=True)
