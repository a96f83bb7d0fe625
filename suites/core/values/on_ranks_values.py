"""Save values, load them into targets that hold other bits, and report what differs."""

from __future__ import annotations

import torch

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.checklist import SHAPES
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject.program import run_program
from dcp_conformance.harness.subject.session import Session

# Seconds that another program may take; it has torch to import.
PROGRAM_LIMIT = 90.0


def dtype_round_trip(session: Session, name: str, style: str) -> list[Difference]:
    """Save and load one tensor for each shape of the checklist, of one dtype."""
    dtype = getattr(torch, name, None)
    if dtype is None:
        session.give_up(f"this torch has no dtype {name}")
    state: dict[str, object] = {
        f"t{number}": pattern(f"t{number}", shape, dtype) for number, shape in enumerate(SHAPES)
    }
    return round_trip(session, state, style=style)


def saved_by_a_program(session: Session) -> tuple[int | None, str, list[Difference]]:
    """Let another program save, which has nothing of this one but the backend; its exit code and output, what loads."""
    function = "dcp_conformance.suites.core.values.on_ranks_values:save_there"
    code, output = run_program(session, function, limit=PROGRAM_LIMIT)
    wanted = _of_a_program(session)
    target = blank(wanted)
    if code == 0:
        session.load(target, session.new_id("elsewhere"))
    return code, output, differences(wanted, target) if code == 0 else []


def save_there(session: Session) -> None:
    """Save in a program of its own."""
    session.save(_of_a_program(session), session.new_id("elsewhere"))


def _of_a_program(session: Session) -> dict[str, object]:
    state: dict[str, object] = {f"t{size}": coded(size, (size,), version=1) for size in (0, 1, 100, 4000)}
    state["large"] = coded(7, (100_000,), version=1)
    if "objects" not in session.storage.unsupported:
        state |= {"text": "words " * 50_000, "bytes": bytes(range(256)) * 1000, "step": 7, "list": [1, "two", None]}
    return state


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
