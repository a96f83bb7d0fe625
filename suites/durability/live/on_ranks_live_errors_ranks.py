"""As live_errors, for a save of several ranks of which one has a failing disk."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist

from dcp_conformance.harness.recording import operations
from dcp_conformance.harness.recording.operations import Operation
from dcp_conformance.harness.recording.policy import Rule
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.harness.subject.watch_ranks import apart, folder_of, recorded
from dcp_conformance.suites.durability.live.on_ranks_live_errors import ERRORS, NEW, OLD, answered, said


def failing_ranks(session: Session, situation: str) -> list[dict[str, Any]]:
    """Report what each point gave on this rank; see live_errors.failing_saves."""
    for capability in ("multi_process", *(("overwrite",) if situation == "overwrite" else ())):
        session.needs(capability)
    made = _recorded(session, situation)
    unseen = [item.describe() for item in made if item.call == "opaque" and not item.failed]
    if unseen:
        session.give_up(f"it writes in a way in which no fault can be made: {unseen[0]}")
    found = []
    for place, rule in enumerate(points(made)):
        seen = _under_fault(session, f"{situation}-{place}", situation, rule)
        point = f"on rank {rule.rank}, {said(rule)}"
        same = {"kind": rule.calls[0], "errno": answered(rule), "options": "", "unsynced": ""}
        found.append({"point": point, **same, **seen})
    return found


def points(made: Sequence[Operation]) -> Iterator[Rule]:
    """On each rank the first and the last operation of each kind, with two different errors."""
    counts = Counter((item.rank, item.call) for item in made if not item.failed and item.call in ERRORS)
    for (rank, call), count in sorted(counts.items()):
        for nth, number in zip((1, count), ERRORS[call], strict=False):
            yield Rule(calls=(call,), rank=rank, nth=nth, errno=number)


def _recorded(session: Session, situation: str) -> tuple[Operation, ...]:
    inside = apart(session, situation)
    if situation == "overwrite":
        inside.save(inside.suited(state(session.rank, OLD)), inside.new_id())
    with recorded(session, situation, place=situation) as watching:
        inside.save(inside.suited(state(session.rank, NEW)), inside.new_id())
    _removed(session, situation)
    return operations.load(Path(watching.path)).operations


def _under_fault(session: Session, name: str, situation: str, rule: Rule) -> dict[str, Any]:
    with recorded(session, name, place=name, keep=False) as watching:
        inside = apart(session, name)
        checkpoint_id = inside.new_id()
        if situation == "overwrite":
            inside.save(inside.suited(state(session.rank, OLD)), checkpoint_id)
        dist.barrier()
        if session.rank == 0:
            watching.faults(rule)
        dist.barrier()
        saved = session.attempt(inside.save, inside.suited(state(session.rank, NEW)), checkpoint_id)
        dist.barrier()
        reached = watching.reached().get(0, 0)
        dist.barrier()
        watching.faults()
    states = {version: session.suited(whole(session.world_size, version)) for version in (OLD, NEW)}
    target = blank(states[OLD])
    loaded = session.attempt(inside.load, target, checkpoint_id)
    unlike = {version: differences(states[version], target, limit=1) for version in states}
    _removed(session, name)
    return {
        "reached": reached, "saved": saved, "attempt": loaded, "blind": watching.blind, "means": watching.means,
        "unlike": {version: [item.sentence() for item in unlike[version]] for version in unlike},
    }  # fmt: skip


def _removed(session: Session, name: str) -> None:
    """Remove the folder once no rank is at work in it."""
    dist.barrier()
    if session.rank == 0:
        shutil.rmtree(folder_of(session, name), ignore_errors=True)


def state(rank: int, version: int) -> dict[str, Any]:
    """Report what a rank saves: values that say of which save they are, too many for one buffer of a file."""
    return {f"r{rank}": coded(rank, (5000,), version=version), f"r{rank}.step": version}


def whole(ranks: int, version: int) -> dict[str, Any]:
    """Report what all ranks save."""
    return {key: item for rank in range(ranks) for key, item in state(rank, version).items()}
