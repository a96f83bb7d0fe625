"""Two ranks whose storage works by turns: what one is asked to do must not hang on the other's being asked too."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.checkpoint import DefaultLoadPlanner, DefaultSavePlanner

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject

# How long the second rank holds back, in seconds, before it makes its call all the same.
PATIENCE = 8.0


@dataclass(frozen=True, kw_only=True)
class Turns:
    """What a rank saw. waited: the first call that had not returned on the first rank when this one gave up waiting."""

    waited: str
    found: list[Difference]


class _ByTurns:
    """Makes calls on one rank after the other; after the first that does not return in time, on both at once."""

    def __init__(self, session: Session, first: int) -> None:
        self.session, self.first, self.waited = session, first, ""

    def __call__(self, phase: str, call: Callable[[], Any]) -> Any:
        dist.barrier()
        done = Path(self.session.spec.scratch, f"{self.session.spec.place}-{phase}-{self.first}")
        if self.session.rank != self.first:
            self._hold_back(phase, done)
            return into_subject(call)
        result = into_subject(call)
        done.touch()
        return result

    def _hold_back(self, phase: str, done: Path) -> None:
        deadline = time.monotonic() + (0.0 if self.waited else PATIENCE)
        while not done.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not done.exists() and not self.waited:
            self.waited = phase


def save_and_load_by_turns(session: Session, first: int) -> Turns:
    """Drive a save and a load of two ranks by hand, each call on rank `first` before the other rank makes its own."""
    turns, state = _ByTurns(session, first), {f"own{session.rank}": coded(session.rank, (300,), version=1)}
    _save(session, turns, state)
    dist.barrier()
    target = blank(state)
    _load(session, turns, target)
    return Turns(waited=turns.waited, found=differences(state, target))


def _save(session: Session, turns: _ByTurns, state: dict[str, Any]) -> None:
    writer, planner, leads = session.writer(session.new_id()), DefaultSavePlanner(), session.rank == 0
    planner.set_up_planner(state, writer.storage_meta(), leads)
    turns("set_up_storage_writer", lambda: writer.set_up_storage_writer(leads))
    plans = _gathered(
        turns("prepare_local_plan of a save", lambda: writer.prepare_local_plan(planner.create_local_plan()))
    )
    metadata = None
    if leads:
        plans, metadata = planner.create_global_plan(plans)
        plans = into_subject(writer.prepare_global_plan, plans)
    plan = planner.finish_plan(_from_first(plans)[session.rank])
    results = _gathered(turns("write_data", lambda: writer.write_data(plan, planner).wait()))
    if leads:
        into_subject(writer.finish, metadata, results)


def _load(session: Session, turns: _ByTurns, target: dict[str, Any]) -> None:
    reader, planner, leads = session.reader(session.new_id()), DefaultLoadPlanner(), session.rank == 0
    metadata = turns("read_metadata", reader.read_metadata)
    planner.set_up_planner(target, metadata, leads)
    turns("set_up_storage_reader", lambda: reader.set_up_storage_reader(metadata, leads))
    plans = _gathered(
        turns("prepare_local_plan of a load", lambda: reader.prepare_local_plan(planner.create_local_plan()))
    )
    if leads:
        plans = into_subject(reader.prepare_global_plan, planner.create_global_plan(plans))
    plan = planner.finish_plan(_from_first(plans)[session.rank])
    turns("read_data", lambda: reader.read_data(plan, planner).wait())


def _gathered(mine: Any) -> list[Any]:
    everything: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everything, mine)
    return everything


def _from_first(theirs: Any) -> Any:
    box = [theirs]
    dist.broadcast_object_list(box, src=0)
    return box[0]
