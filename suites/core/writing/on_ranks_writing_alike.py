"""Values that differ in one place only: from each other, or from what was saved before them."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, pattern
from dcp_conformance.harness.subject.session import Session

# Elements of each tensor: 256 KiB, more than a writer looks at that compares beginnings and ends.
LENGTH = 64 * 1024
SAVES = 3


def alike_in_one_save(session: Session) -> list[Difference]:
    """Save and load tensors and objects of one size, each of which differs from the first in one place."""
    state: dict[str, Any] = {"first": _tensor()}
    for place in (0, LENGTH // 2, LENGTH - 1):
        state[f"other at {place}"] = _tensor()
        _change(state[f"other at {place}"], place)
    if "objects" not in session.storage.unsupported:
        state |= {f"text {place}": _text(place) for place in (0, LENGTH // 2, LENGTH - 1)}
    checkpoint_id, target = session.new_id(), blank(state)
    session.save(state, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(state, target)


def overwritten_in_one_place(session: Session) -> list[Difference]:
    """Save a state to one id again and again, one place in its middle changed each time; the first differences."""
    checkpoint_id, tensor = session.new_id(), _tensor()
    for save in range(SAVES):
        state = _after(session, tensor, save)
        session.save(state, checkpoint_id)
        found = _found(session, state, checkpoint_id)
        if found:
            return found
    return []


def one_writer_in_one_place(session: Session) -> list[list[Difference]]:
    """The same through one writer, each save to an id of its own; what each id holds in the end that is not its own."""
    if not session.drives_storage:
        session.excuse("its engine keeps a store of its own, and takes no writer")
    ids = [session.new_id(f"save{save}") for save in range(SAVES)]
    writer, tensor, saved = session.writer(ids[0]), _tensor(), []
    for save, checkpoint_id in enumerate(ids):
        state = _after(session, tensor, save)
        session.save(state, checkpoint_id, writer=writer, style="passed")
        saved.append({**state, "tensor": tensor.clone()})
    return [_found(session, state, checkpoint_id) for state, checkpoint_id in zip(saved, ids, strict=True)]


def _found(session: Session, state: dict[str, Any], checkpoint_id: Any) -> list[Difference]:
    target = blank(state)
    session.load(target, checkpoint_id)
    return differences(state, target)


def _after(session: Session, tensor: torch.Tensor, changes: int) -> dict[str, Any]:
    """The state with `tensor` itself, changed once more, and an object of the same size whatever the change."""
    _change(tensor, LENGTH // 2 + changes)
    objects = {} if "objects" in session.storage.unsupported else {"text": _text(LENGTH // 2 + changes)}
    return {"tensor": tensor, **objects}


def _change(tensor: torch.Tensor, place: int) -> None:
    # Through numpy, as a data loader or a C extension writes: torch does not count it as a new version of the tensor.
    view = tensor.numpy()
    view[place] = ~view[place]


def _tensor() -> torch.Tensor:
    return pattern("alike", (LENGTH,), torch.int32)


def _text(place: int) -> str:
    return "a" * place + "b" + "a" * (LENGTH - place - 1)
