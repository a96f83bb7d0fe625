"""The formats that a writer offers beside its own: what it saves in them can be loaded, or it says that it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dcp_conformance.harness.backend.settings import FORMAT, other_formats
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.core.writing.on_ranks_writing import mixed_state


@dataclass(frozen=True, kw_only=True)
class InFormat:
    """A save in one format, and the load of what it saved; load is None where the save refused."""

    said: str
    save: Attempt
    load: Attempt | None
    found: list[Difference]


def every_format(session: Session) -> list[InFormat]:
    """Save tensors, and tensors with objects, in each format that the writer offers; a save may refuse."""
    formats = other_formats(session.storage.writer)
    if not formats:
        session.excuse("its writer offers no other format")
    whole = mixed_state(session)
    tensors = {key: value for key, value in whole.items() if isinstance(value, torch.Tensor)}
    return [
        _saved(session, f"{chosen} ({what})", {FORMAT: chosen}, state)
        for chosen in formats
        for what, state in (("tensors", tensors), ("tensors and objects", whole))
    ]


def _saved(session: Session, said: str, options: dict[str, Any], state: dict[str, Any]) -> InFormat:
    checkpoint_id, target = session.new_id(said.replace(" ", "_")), blank(state)
    save = session.attempt(session.save, state, checkpoint_id, writer=session.writer(checkpoint_id, **options))
    load = session.attempt(session.load, target, checkpoint_id) if save.ok else None
    return InFormat(said=said, save=save, load=load, found=differences(state, target) if load and load.ok else [])
