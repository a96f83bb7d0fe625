"""Ranks of one load that see different things under one id, as with a disk for each node or a replica that lags behind.

The readers of the ranks are given ids of their own: what an engine sees of that is what each reader finds, as where one
id means another place on each node.
"""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.looking import uses_storage
from dcp_conformance.harness.subject.session import Session, into_subject


def load_divided(session: Session, other: str, apart: int) -> tuple[Attempt, Attempt]:
    """Load while all ranks see one checkpoint, then while rank `apart` sees another or none; report how both ended.

    other: what that rank sees: "save", a later save of the same keys and sizes; "keys", one with a key more; "nothing".
    """
    if not (uses_storage(session, "load") and uses_storage(session, "save")):
        session.excuse("the engine takes no storage that could show each rank something else")
    usual, foreign = session.new_id("usual"), session.new_id(other)
    session.save(_state(session, 1), usual)
    if other != "nothing":
        session.save(
            {**_state(session, 2), **({"more": coded(9, (3,), version=2)} if other == "keys" else {})}, foreign
        )
    if other == "save" and _save_id(session, usual) == _save_id(session, foreign):
        session.excuse("the metadata of its storage does not tell two saves of the same keys and sizes apart")
    together = session.attempt(session.load, blank(_state(session, 1)), usual)
    dist.barrier()
    seen = foreign if session.rank == apart else usual
    return together, session.attempt(session.load, blank(_state(session, 1)), seen, reader=session.reader(seen))


def _state(session: Session, version: int) -> dict[str, Any]:
    return {f"t{key}": coded(key, (6,), version=version).to(session.device) for key in range(3)}


def _save_id(session: Session, checkpoint_id: Any) -> str | None:
    """Return the id of the save that the metadata names; None where it names none."""
    metadata = into_subject(session.reader(checkpoint_id).read_metadata)
    return getattr(metadata.storage_meta, "save_id", None)
