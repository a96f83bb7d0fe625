"""Save values, load them into targets that hold other bits, and report what differs."""

from __future__ import annotations

import torch

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.checklist import SHAPES
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, pattern
from dcp_conformance.harness.subject.session import Session


def dtype_round_trip(session: Session, name: str, style: str) -> list[Difference]:
    """Save and load one tensor for each shape of the checklist, of one dtype."""
    dtype = getattr(torch, name, None)
    if dtype is None:
        session.give_up(f"this torch has no dtype {name}")
    state: dict[str, object] = {
        f"t{number}": pattern(f"t{number}", shape, dtype) for number, shape in enumerate(SHAPES)
    }
    return round_trip(session, state, style=style)


def empty_round_trip(session: Session) -> list[Difference]:
    """Save and load the state dict that holds nothing."""
    return round_trip(session, {})


def round_trip(session: Session, state: dict[str, object], *, style: str = "constructor") -> list[Difference]:
    """Save `state`, load it into a template with other contents, and compare bit for bit."""
    checkpoint_id = session.new_id()
    session.save(state, checkpoint_id, style=style)
    target = blank(state)
    session.load(target, checkpoint_id, style=style)
    return differences(state, target)
