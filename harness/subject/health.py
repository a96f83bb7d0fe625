"""Whether a store still answers: asked before a failure is held against the backend that uses it."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness.subject.driving import drive_load, drive_save
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.harness.subject.spec import SubjectSpec

_KNOWN_GOOD = 4


def answers(spec: SubjectSpec) -> bool:
    """Tell whether the store serves this rank: its record's `alive()`, else one small tensor there and back.

    Raises what the backend raises, which means no too.
    """
    session = Session(spec)
    # The record knows best: a round trip through a broken writer could call a living store dead, and so excuse the
    # writer.
    if session.storage.alive is not None:
        return bool(into_subject(session.storage.alive))
    stored, target = torch.arange(_KNOWN_GOOD), torch.zeros(_KNOWN_GOOD, dtype=torch.int64)
    _there_and_back(session, {"known good": stored}, {"known good": target})
    return bool(torch.equal(stored, target))


def _there_and_back(session: Session, state: dict[str, Any], target: dict[str, Any]) -> None:
    checkpoint_id = session.new_id("health")
    if session.drives_storage:
        drive_save(session.writer(checkpoint_id), state)
        drive_load(session.reader(checkpoint_id), target)
    else:
        session.save(state, checkpoint_id)
        session.load(target, checkpoint_id)
