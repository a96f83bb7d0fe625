"""Values that differ in one place only, from each other or from what was saved before; and names like each other."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states import alike_names
from dcp_conformance.harness.states.alike import LENGTH, alike, change, changed, text
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session

SAVES = 3


def alike_in_one_save(session: Session) -> list[Difference]:
    """Save and load tensors and objects of one size, each of which differs from the first in one place."""
    state: dict[str, Any] = {"first": alike()}
    for place in (0, LENGTH // 2, LENGTH - 1):
        state[f"other at {place}"] = alike()
        change(state[f"other at {place}"], place)
    if "objects" not in session.storage.unsupported:
        state |= {f"text {place}": text(place) for place in (0, LENGTH // 2, LENGTH - 1)}
    checkpoint_id, target = session.new_id(), blank(state)
    session.save(state, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(state, target)


def overwritten_in_one_place(session: Session) -> list[Difference]:
    """Save a state to one id again and again, one place in its middle changed each time; the first differences."""
    checkpoint_id, tensor = session.new_id(), alike()
    for save in range(SAVES):
        state = changed(tensor, save, objects="objects" not in session.storage.unsupported)
        session.save(state, checkpoint_id)
        found = _found(session, state, checkpoint_id)
        if found:
            return found
    return []


def names_in_one_save(session: Session, objects: bool) -> list[list[Difference]]:
    """Save values whose names are alike, of all ranks in turn; then, over them, every other one with another value.

    Returns what each of the two gives that is not its own.
    """
    if objects:
        session.needs("objects")
    checkpoint_id, found = session.new_id(), []
    for version in (1, 2) if "overwrite" not in session.storage.unsupported else (1,):
        names = alike_names.KEYS[:: 1 if version == 1 else 2]
        whole = {name: _named(number, version, objects) for number, name in enumerate(names)}
        own = {name: value for number, (name, value) in enumerate(whole.items()) if _is_own(session, number)}
        session.save(own, checkpoint_id)
        found.append(_found(session, whole, checkpoint_id))
    return found


def _named(number: int, version: int, objects: bool) -> Any:
    return f"object {number} of save {version}" if objects else coded(number, (4,), version=version)


def _is_own(session: Session, number: int) -> bool:
    return number % session.world_size == session.rank


def _found(session: Session, state: dict[str, Any], checkpoint_id: Any) -> list[Difference]:
    target = blank(state)
    session.load(target, checkpoint_id)
    return differences(state, target)
