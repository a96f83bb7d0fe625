"""Objects that follow the Stateful protocol and write down what a save and a load ask of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.core.loading.on_ranks_partial import Opaque, changed, heard, unusual_values

ENTRY = "entry_without_state"


class Noted:
    """A Stateful object of one tensor, which notes `call name` for each call and may do more then."""

    def __init__(self, tensor: torch.Tensor, calls: list[str], name: str = "it") -> None:
        self.tensor, self.calls, self.name = tensor, calls, name
        self.handed: Any = None
        self.on_state_dict: Callable[[], None] = lambda: None
        self.on_load: Callable[[], None] = lambda: None

    def state_dict(self) -> dict[str, Any]:
        """Report what a save stores, and a load fills."""
        self.calls.append(f"state_dict {self.name}")
        self.on_state_dict()
        return {"value": self.tensor}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the loaded state; a copy of it is kept."""
        self.calls.append(f"load_state_dict {self.name}")
        self.handed = {key: item.clone() for key, item in state_dict.items()}
        self.on_load()


class Watched(dict):  # type: ignore[type-arg]
    """A dict that notes the keys to which a value is assigned."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.assigned: list[str] = []

    def __setitem__(self, key: Any, value: Any) -> None:
        self.assigned.append(key)
        super().__setitem__(key, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As assignment of each item."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value


class Lazy:
    """A Stateful object that has state only once it was used, like an optimizer."""

    def __init__(self, *moments: torch.Tensor) -> None:
        self.moments = list(moments)

    def state_dict(self) -> dict[str, Any]:
        """Return the moments that are there."""
        return {"state": {str(place): {"moment": item} for place, item in enumerate(self.moments)}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the moments, whatever was there."""
        self.moments = [item["moment"] for item in state_dict.get("state", {}).values()]


class Nested:
    """A Stateful object of one tensor that can be pickled whole, which is not what its protocol asks for."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def state_dict(self) -> dict[str, Any]:
        """Report what a save stores, and a load fills."""
        return {"tensor": self.tensor}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the loaded state."""
        self.tensor.copy_(state_dict["tensor"])


def assignments(session: Session, flat: bool) -> tuple[list[Difference], list[str], bool]:
    """Load tensors, objects and a Stateful into a dict that notes assignments; is the Stateful still in its place.

    Not flat: with planners that do not flatten.
    """
    planners = ({}, {}) if flat else _unflattened(session)
    if planners is None:
        session.excuse("nobody can ask this engine not to flatten: it supplies no planners by torch's names")
    state, noted = _plain_values(session, version=1), Noted(coded(2, (3,), version=2), [])
    checkpoint_id, target = session.new_id(), Watched({**blank(state), "stateful": noted})
    session.save({**state, "stateful": Noted(coded(2, (3,), version=1), [])}, checkpoint_id, **planners[0])
    session.load(target, checkpoint_id, **planners[1])
    found = differences(state, {key: item for key, item in target.items() if key != "stateful"})
    found += differences({"value": coded(2, (3,), version=1)}, noted.handed, key="stateful")
    return found, target.assigned, target["stateful"] is noted


def _unflattened(session: Session) -> tuple[dict[str, Any], dict[str, Any]] | None:
    own = {"DefaultSavePlanner", "DefaultLoadPlanner"} <= set(session.engine.utilities)
    if not (own and session.takes("save", "planner") and session.takes("load", "planner")):
        return None
    save, load = session.tool("DefaultSavePlanner"), session.tool("DefaultLoadPlanner")
    return {"planner": save(flatten_state_dict=False)}, {"planner": load(flatten_state_dict=False)}


def _plain_values(session: Session, *, version: int) -> dict[str, Any]:
    state: dict[str, Any] = {"tensor": coded(1, (4,), version=version)}
    if "objects" not in session.storage.unsupported:
        state |= {"number": 5, "text": "saved"}
    return state


def protocol_calls(session: Session) -> tuple[list[str], list[str], list[Difference]]:
    """Report the calls of a Stateful during a save and a load, and what was missing when it was handed its state."""
    saved: list[str] = []
    loaded: list[str] = []
    other = {
        f"{place}{name}": coded(key, (64,), version=1) for key, name in enumerate("az") for place in ("first", "last")
    }
    checkpoint_id, target, late = session.new_id(), blank(other), []
    session.save({**other, "it": Noted(coded(9, (3,), version=1), saved)}, checkpoint_id)
    noted = Noted(coded(9, (3,), version=2), loaded)
    noted.on_load = lambda: late.extend(differences(other, target))
    session.load({**target, "it": noted}, checkpoint_id)
    late.extend(differences({"value": coded(9, (3,), version=1)}, noted.handed, key="it"))
    return saved, loaded, late


def nested_stateful(session: Session) -> tuple[list[Difference], list[str]]:
    """Save and load Stateful objects in a dict and in a list; which are other objects afterwards."""
    checkpoint_id = session.new_id()
    session.save(_nested(version=1), checkpoint_id)
    target = _nested(version=2)
    held = _stateful_places(target)
    session.load(target, checkpoint_id)
    after = _stateful_places(target)
    replaced = [name for name, item in held.items() if after[name] is not item]
    wanted = {name: item.tensor for name, item in _stateful_places(_nested(version=1)).items()}
    return differences(wanted, {name: item.tensor for name, item in held.items()}), replaced


def _nested(*, version: int) -> dict[str, Any]:
    made = [Nested(coded(key, (4,), version=version)) for key in range(6)]
    plain = [coded(10 + key, (2,), version=version) for key in range(4)]
    return {
        "dict": {"inner": made[0]},
        "list": [made[1]],
        "behind": {"plain": plain[0], "list": [plain[1], made[2], {"plain": plain[2], "inner": made[3]}]},
        "between": [[plain[3], [made[4]]], {"a": {"b": made[5]}}],
    }


def _stateful_places(state: dict[str, Any]) -> dict[str, Any]:
    behind, between = state["behind"]["list"], state["between"]
    return {
        "dict.inner": state["dict"]["inner"], "list.0": state["list"][0], "behind.list.1": behind[1],
        "behind.list.2.inner": behind[2]["inner"], "between.0.1.0": between[0][1][0],
        "between.1.a.b": between[1]["a"]["b"],
    }  # fmt: skip


def failed_plan(session: Session) -> tuple[Attempt, list[str]]:
    """Load with one key that is not stored; what of the caller's objects is not what it was."""
    checkpoint_id, calls = session.new_id(), []  # type: tuple[Any, list[str]]
    stored = {"tensor": coded(1, (4,), version=1), "nested": {"inner": coded(2, (4,), version=1)}}
    session.save({**stored, "it": Noted(coded(3, (3,), version=1), [])}, checkpoint_id)
    before = {"tensor": coded(1, (4,), version=2), "nested": {"inner": coded(2, (4,), version=2)}}
    unusual = unusual_values()
    target: dict[str, Any] = {
        **unusual,
        **_copies(before),
        "it": Noted(coded(3, (3,), version=2), calls),
        "not_stored": Opaque(),
    }
    target["nested"] |= unusual
    attempt = session.attempt(session.load, target, checkpoint_id)
    lost = changed({**unusual, **before, "nested": {}}, {**target, "nested": {}})
    lost += [f"nested.{name}" for name in changed({**unusual, **before["nested"]}, target["nested"])]  # type: ignore[dict-item]
    lost += ["the Stateful was handed a state"] if "load_state_dict it" in calls else []
    return attempt, lost


def _copies(state: dict[str, Any]) -> dict[str, Any]:
    return {key: _copies(item) if isinstance(item, dict) else item.clone() for key, item in state.items()}


def failed_read(session: Session, victim: int) -> list[tuple[Attempt, bool]]:
    """Loads that fail while rank `victim` reads: how each ended, and whether a Stateful was handed a state then.

    An engine without a storage interface is made to fail by emptying its stored objects, one after the other. None
    where neither is possible, or where several ranks are not.
    """
    if session.world_size > 1 and "multi_process" in session.storage.unsupported:
        session.excuse("no rank of this backend can be made to fail alone while it reads")
    checkpoint_id = session.new_id()
    session.save({"plain": coded(1, (4,), version=1), "it": Noted(coded(3, (3,), version=1), [])}, checkpoint_id)
    if session.takes("load", "storage_reader"):
        return [_handed(session, checkpoint_id, faults=(Fault(phase="read_data", ranks=(victim,)),))]
    if session.world_size > 1:
        session.excuse("no rank of this backend can be made to fail alone while it reads")
    return [_handed(session, checkpoint_id) for _ in missing_objects(session, checkpoint_id)]


def _handed(session: Session, checkpoint_id: Any, **arguments: Any) -> tuple[Attempt, bool]:
    calls: list[str] = []
    target = {"plain": torch.zeros(4, dtype=torch.float64), "it": Noted(coded(3, (3,), version=2), calls)}
    attempt = session.attempt(session.load, target, checkpoint_id, **arguments)
    return attempt, "load_state_dict it" in calls


def missing_objects(session: Session, checkpoint_id: Any) -> Iterator[str]:
    """For each stored object its name, while nothing is in it; none where stored bytes cannot be reached."""
    blobs = None if "stored_bytes" in session.storage.unsupported else session.blobs(checkpoint_id)
    if blobs is None:
        return
    for name in sorted(blobs.names()):
        content = blobs.read(name)
        blobs.write(name, b"")
        try:
            yield name
        finally:
            blobs.write(name, content)


def call_order(session: Session) -> list[str]:
    """Return the calls of Stateful entries during a load, where each rank put them into its dict in another order."""
    names = ("one", "two", "three") if session.rank == 0 else ("three", "one", "two")
    checkpoint_id, calls = session.new_id(), []  # type: tuple[Any, list[str]]
    tensors = {name: coded(key, (3,), version=1) for key, name in enumerate(sorted(names))}
    session.save({name: Noted(tensors[name], [], name) for name in names}, checkpoint_id)
    session.load({name: Noted(torch.zeros(3, dtype=torch.float64), calls, name) for name in names}, checkpoint_id)
    return calls


def load_into_no_state(session: Session) -> tuple[int, Attempt, str]:
    """Load into an object that has no state yet: how much arrived of two, how it ended, and what was said meanwhile."""
    checkpoint_id = session.new_id()
    session.save({ENTRY: Lazy(coded(1, (4,), version=1), coded(2, (4,), version=1))}, checkpoint_id)
    fresh = Lazy()
    with heard() as words:
        attempt = session.attempt(session.load, {ENTRY: fresh}, checkpoint_id)
    return len(fresh.moments), attempt, "\n".join(words)


def entry_removed(session: Session, moment: str) -> tuple[Attempt, list[Difference]]:
    """Use a Stateful that takes entries out of the caller's dict when it is asked for its state, or handed one."""
    checkpoint_id, state = (
        session.new_id(),
        {"a_tensor": coded(1, (4,), version=1), "z_tensor": coded(2, (4,), version=1)},
    )
    stateful = {name: coded(3 + key, (3,), version=1) for key, name in enumerate(("b_it", "y_other"))}
    session.save({**state, **{name: Noted(item, []) for name, item in stateful.items()}}, checkpoint_id)
    target: dict[str, Any] = {**blank(state), "b_it": Noted(torch.zeros(3, dtype=torch.float64), [])}
    target["y_other"] = Noted(torch.zeros(3, dtype=torch.float64), [])
    noted, other = target["b_it"], ("z_tensor", "y_other")

    def remove() -> None:
        for key in other:
            target.pop(key, None)

    setattr(noted, "on_state_dict" if moment == "asked" else "on_load", remove)
    attempt = session.attempt(session.load, target, checkpoint_id)
    if not attempt.ok:
        return attempt, []
    wanted = {"a_tensor": state["a_tensor"], "b_it": {"value": stateful["b_it"]}}
    return attempt, differences(wanted, {"a_tensor": target["a_tensor"], "b_it": noted.handed})
