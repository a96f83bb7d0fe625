"""On ranks: play a history against a dictionary of what each id must hold, and observe which laws hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch.distributed as dist

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.stagers import futures
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.drawn import Trip, broken
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.histories import PLACES, Step
from dcp_conformance.harness.states.history_states import own_part, state_of
from dcp_conformance.harness.states.values import blank, other_bits
from dcp_conformance.harness.subject.session import Session, into_subject

LIMIT = 60.0
# What an id holds after a save that failed: the old state, the new one or neither. Nobody looks before the next save.
OPEN = -1
# After it was deleted: a store may keep what its record cannot take away, so nobody looks either.
GONE = -2


def play(session: Session, steps: list[Step], name: str) -> Trip:
    """Play the steps, wait for what goes on in the background, and look at every id; ends at the first finding."""
    history = _History(session, name)
    every = [*steps, *(Step(do="load", place=place) for place in range(PLACES))]
    for number, step in enumerate(every):
        announce("combination", place=number)
        trip = replace(history.trip(step), row={"step": str(number)})
        # Together: a rank that went on alone would wait for the others in its next step.
        if _anybody(broken(trip)):
            return trip
    return Trip({}, "", None)


def _anybody(found: bool) -> bool:
    if not (dist.is_initialized() and dist.get_world_size() > 1):
        return found
    said = [False] * dist.get_world_size()
    dist.all_gather_object(said, found)
    return any(said)


class _History:
    """What was done so far, and what must come of it."""

    def __init__(self, session: Session, name: str) -> None:
        self.session, self.name = session, name
        self.plain = "objects" in session.storage.unsupported
        self.names = [f"{name}-a", f"{name}-a-b", f"{name}-c"]
        # What each id holds: the number of a state, None for nothing, or OPEN.
        self.held: list[int | None] = [None] * PLACES
        self.behind = [False] * PLACES  # the last save of the id went on in the background
        self.past: list[set[int]] = [set() for _ in range(PLACES)]
        self.running: dict[int, Any] = {}
        self.writer: Any = None
        self.reader: Any = None
        self.found: list[tuple[str, Difference]] = []

    def trip(self, step: Step) -> Trip:
        """Make one step, and return what was seen of it."""
        held = self.held[step.place] if step.do == "save" else None
        law = {OPEN: "retry", GONE: "outdated"}.get(held or 0, self._law(step.place))
        attempt = self.session.attempt(getattr(self, f"_{step.do}"), step)
        return Trip({}, str(step), attempt, self.found, law)

    def _law(self, place: int) -> str:
        return "stored" if self.behind[place] else "last"

    def _save(self, step: Step) -> None:
        checkpoint_id = self._ready(step)
        if step.how == "same" and self.session.storage.writer is not None:
            self.writer = self.writer or self.session.writer(checkpoint_id)
            self.session.save(self._own(step.version), checkpoint_id, writer=self.writer, style="passed")
        else:
            self.session.save(self._own(step.version), checkpoint_id)
        self._hold(step, behind=False)

    def _fail(self, step: Step) -> None:
        if not self.session.drives_storage:
            return  # there is no step in which it could be made to fail
        checkpoint_id = self._ready(step)
        last = 0 if step.how in ("finish", "prepare_global_plan") else self.session.world_size - 1
        fault = Fault(phase=step.how, ranks=(last,), after=step.how == "write_data")
        ended: Attempt = self.session.attempt(
            self.session.save, self._own(step.version), checkpoint_id, faults=(fault,)
        )
        # That it must fail, and on all ranks, is for other checks; a save that shrugs it off has saved.
        self.held[step.place] = step.version if ended.ok else OPEN
        self.past[step.place].add(step.version)

    def _background(self, step: Step) -> None:
        checkpoint_id, state = self._ready(step), self._own(step.version)
        if self.running:
            # Saves that overlap may be refused (ASYNC-09), and then nothing has begun.
            started: list[Any] = []
            attempt = self.session.attempt(lambda: started.append(self.session.async_save(state, checkpoint_id)))
            if attempt.error is not None:
                return
            [response] = started
        else:
            response = self.session.async_save(state, checkpoint_id)
        staged, self.running[step.place] = futures(response)
        if staged is not None:
            into_subject(staged.result, LIMIT)
        for value in state.values():
            if hasattr(value, "copy_"):
                value.copy_(other_bits(value))
        self._hold(step, behind=True)

    def _delete(self, step: Step) -> None:
        self._wait(step.place)
        if self.held[step.place] is None:
            return
        if self.session.rank == 0:
            # Not judged: what a failed save left running may still write there.
            self.session.attempt(into_subject, self.session.storage.discard, self._id(step.place))
        _anybody(False)  # a barrier: nobody goes on before it is gone
        self.held[step.place] = GONE

    def _load(self, step: Step) -> None:
        self._look(step, every=1)

    def _part(self, step: Step) -> None:
        self._look(step, every=2)

    def _look(self, step: Step, *, every: int) -> None:
        self._wait(step.place)
        version = self.held[step.place]
        if version in (OPEN, GONE):
            return
        if version is None:
            # A negative answer, which must not be remembered.
            self.session.attempt(self.session.load, blank(self._whole(1)), self._id(step.place))
            return
        wanted = dict(list(self._whole(version).items())[::every])
        target = blank(wanted)
        if step.how == "same" and self.session.storage.reader is not None:
            self.reader = self.reader or self.session.reader(self._id(step.place))
            self.session.load(target, self._id(step.place), reader=self.reader, style="passed")
        else:
            self.session.load(target, self._id(step.place))
        self._compare(step.place, wanted, target)

    def _compare(self, place: int, wanted: dict[str, Any], target: dict[str, Any]) -> None:
        # First as a whole: that comparison is proven, and the common case ends here.
        for key, value in wanted.items() if differences(wanted, target, limit=1) else ():
            unlike = differences(value, target.get(key), key=f"{key} of id {'ABC'[place]}")
            self.found += [(self._of_others(place, key, target.get(key)), item) for item in unlike]

    def _of_others(self, place: int, key: str, loaded: Any) -> str:
        """Return the law that a wrong value breaks: it may be that of an earlier save, or of another id."""
        for other in (place, *(number for number in range(PLACES) if number != place)):
            for version in self.past[other]:
                known = self._whole(version)
                if key in known and not differences(known[key], loaded, limit=1):
                    return "old" if other == place else "other id"
        return self._law(place)

    def _ready(self, step: Step) -> Any:
        """Return the id of a step that saves, which nothing is going on at; a new one where nobody may overwrite."""
        self._wait(step.place)
        if self.held[step.place] is not None and "overwrite" in self.session.storage.unsupported:
            self.names[step.place] += "+"
            self.held[step.place], self.past[step.place] = None, set()
        return self._id(step.place)

    def _wait(self, place: int) -> None:
        if place in self.running:
            into_subject(self.running.pop(place).result, LIMIT)

    def _hold(self, step: Step, *, behind: bool) -> None:
        self.held[step.place], self.behind[step.place] = step.version, behind
        self.past[step.place].add(step.version)

    def _id(self, place: int) -> Any:
        return self.session.new_id(self.names[place])

    def _own(self, version: int) -> dict[str, Any]:
        return own_part(self._whole(version), self.session.rank)

    def _whole(self, version: int) -> dict[str, Any]:
        state = state_of(version, self.session.world_size, plain=self.plain)
        return {key: value.to(self.session.device) if hasattr(value, "to") else value for key, value in state.items()}
