"""Combinations of one process, saved in the background while training goes on."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.stagers import futures
from dcp_conformance.harness.laws.drawn import Trip
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.drawn_state import Entry, Keeper, entries, nested, reached
from dcp_conformance.harness.states.values import blank, other_bits, resolved
from dcp_conformance.harness.states.varied import Combination
from dcp_conformance.harness.subject.round_trip import RoundTrip, round_trips
from dcp_conformance.harness.subject.session import Session, into_subject

# Long enough that a save which reads its values late, reads the changed ones.
SLOW = 0.02
LIMIT = 30.0
_LAWS = {"changed": "cut off", "two at once": "overlap", "again": "again"}


def saved_in_background(session: Session, rows: list[Combination], name: str) -> list[Trip]:
    """Report how each combination went, up to the first that breaks a law."""
    return round_trips(session, rows, name, _InBackground)


class _InBackground(RoundTrip):
    """A round trip whose save goes on in the background."""

    def law_of(self, entry: Entry) -> str:
        """Return the law of what happened while it was saved, whatever the kind of the entry."""
        return _LAWS.get(self.given["how"], "stored")

    def save_state(self, state: dict[str, Any]) -> None:
        """Save in the background, do what the combination says meanwhile, wait, and judge the other id, if any."""
        how = self.given["how"]
        stager = self.session.stager() if self.given["stager"] == "one for all" else None
        if how == "over another" and "overwrite" not in self.session.storage.unsupported:
            self._wait(self._begin(self._next(), self.id, stager))
        begun = self._begin(state, self.id, stager, slow=how in ("changed", "two at once"))
        if how == "changed":
            self._training_goes_on(begun)
        second = self._second(how, begun, stager)
        self._wait(begun)
        if second is not None:
            self._wait(second)
            self._other_id()
        if stager is not None:
            into_subject(stager.close)

    def _second(self, how: str, begun: Any, stager: Any) -> Any:
        """Return a second save of the same training under another id.

        None where there is none, or where it was refused.
        """
        if how not in ("two at once", "again"):
            return None
        if how == "again":
            self._wait(begun)
        try:
            return self._begin(self._next(), self.elsewhere, stager)
        except Exception:
            if how == "again":
                raise
            return None  # the later of two saves may be refused (ASYNC-09)

    def _begin(self, state: dict[str, Any], checkpoint_id: Any, stager: Any, *, slow: bool = False) -> Any:
        delay = (Fault(phase="write_data", ranks=(0,), kind="delay", seconds=SLOW),) if slow else ()
        writer = None
        if self.session.storage.writer is not None:
            writer = self.session.writer(checkpoint_id, faults=delay, **self.options)
        return self.session.async_save(
            state, checkpoint_id, writer=writer, style=self.row["style"], async_stager=stager
        )

    def _wait(self, begun: Any) -> None:
        into_subject(futures(begun)[1].result, LIMIT)

    def _next(self) -> dict[str, Any]:
        """Return the same state some steps later: all its values are others."""
        found = entries(self.row, 3, plain="objects" in self.session.storage.unsupported)
        later = [Entry(path=e.path, value=_later(e.value), law=e.law) for e in found]
        self.later = {entry.path: entry.expected() for entry in later}
        return nested(later)

    def _training_goes_on(self, begun: Any) -> None:
        staged = futures(begun)[0]
        if staged is not None:
            into_subject(staged.result, LIMIT)
        for entry in self.entries:
            _change(entry.value)

    def input_is_unchanged(self, state: dict[str, Any]) -> None:
        """Nothing to be seen where training went on meanwhile."""
        if self.given["how"] != "changed":
            super().input_is_unchanged(state)

    def _other_id(self) -> None:
        target = nested([Entry(path=e.path, value=self._blank(e), law=e.law) for e in self.entries])
        self.session.load(target, self.elsewhere)
        for path, wanted in self.later.items():
            seen = reached(target, path)
            said = seen.said() if isinstance(seen, Keeper) else seen
            self.finds(
                _LAWS[self.given["how"]], *differences(wanted, said, key=f"{'.'.join(map(str, path))} of the next")
            )

    def _blank(self, entry: Entry) -> Any:
        if isinstance(entry.value, Keeper):
            return Keeper(3, 3, plain="objects" in self.session.storage.unsupported)
        return blank(resolved(entry.value.detach()) if isinstance(entry.value, torch.Tensor) else entry.value)


def _later(value: Any) -> Any:
    return other_bits(resolved(value.detach())) if isinstance(value, torch.Tensor) else value


def _change(value: Any) -> None:
    if isinstance(value, torch.Tensor) and value.numel():
        memory = value.detach()
        # What is expanded has one element for several indices: its memory is changed, not its view.
        memory = memory.as_strided((1,), (1,), memory.storage_offset()) if 0 in memory.stride() else memory
        memory.copy_(other_bits(resolved(memory)))
    elif isinstance(value, list):
        value.append("later")
    elif isinstance(value, Keeper):
        value.weight.fill_(-7)
        value.step += 1
