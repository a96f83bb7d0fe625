"""Save and load the state of a combination in the way that it says, and observe which laws of a round trip hold."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.drawn import Trip, broken
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.drawn_state import Entry, Keeper, Path, built, entries, nested, path_of, reached
from dcp_conformance.harness.states.drawn_tensors import Target, rearranged, target_like, touched
from dcp_conformance.harness.states.model import ALONE, SHAPES
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.states.varied import Combination
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.harness.subject.writer_options import option_set

# By nearly the same state: a store that writes what has changed has to see that this has.
NEARLY = {"rearranged": rearranged, "touched": touched}
OVERWRITES = ("same", "smaller", "larger", "more keys", "other kinds", "twice", *NEARLY)
# A key that only the earlier state of "more keys" has.
GONE = "gone"
# What an entry holds that is to become None.
HELD = "held before the load"


def round_trips(session: Session, rows: list[Combination], name: str, kind: type[RoundTrip]) -> list[Trip]:
    """Judge one combination after the other, each under an id of its own; the first that breaks a law is the last."""
    trips = []
    for place, row in enumerate(rows):
        announce("combination", place=place)
        trips.append(kind(session, row, f"{name}-{place}").judged())
        # What a save that went wrong left behind could make the next combination fail for no reason of its own.
        if broken(trips[-1]):
            break
    return trips


class RoundTrip:
    """One combination on its way; factors that a model does not have are plain."""

    def __init__(self, session: Session, row: Combination, name: str) -> None:
        self.session, self.row, self.name = session, {**ALONE.plain(), **row}, name
        # Both on every rank and in every combination: ids must be the same whichever way a row goes.
        self.id, self.elsewhere = session.new_id(name), session.new_id(f"{name}-elsewhere")
        self.given = row
        self.options = option_set(session, row["options"])
        plain = "objects" in session.storage.unsupported
        self.entries = entries(self.row, 2, plain=plain)
        # Taken before the save: what a backend does to the tensors that it was given must not change what is expected
        # of it.
        self.expected = {entry.path: entry.expected() for entry in self.entries}
        self.old: dict[Path, Any] = {}
        self.writer: Any = None
        self.reader: Any = None
        self.found: list[tuple[str, Difference]] = []

    def judged(self) -> Trip:
        """Return what was seen of it."""
        for step in (self._before, self._save, self._load):
            attempt = self.session.attempt(self._in_its_thread, step)
            if attempt.error is not None or self.found:
                return Trip(self.given, step.__name__.strip("_"), attempt, self.found, self._main_law())
        return Trip(self.given, "", None, [], self._main_law())

    def law_of(self, entry: Entry) -> str:
        """Return the law that a difference of this entry breaks."""
        return entry.law

    def _main_law(self) -> str:
        return self.law_of(self.entries[0])

    def _in_its_thread(self, step: Callable[[], None]) -> None:
        if self.row["style"] != "thread":
            step()
            return
        ended: list[BaseException] = []

        def work() -> None:
            try:
                step()
            except BaseException as error:  # raised again below, in the thread that asked
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if ended:
            raise ended[0]

    # What was there before.

    def _before(self) -> None:
        kind = self.row["before"]
        if kind == "missing":
            self.session.attempt(self.session.load, {"t": torch.zeros(3)}, self.id)
        elif kind in ("failed write", "failed finish"):
            self._fail("write_data" if kind == "failed write" else "finish")
        elif kind == "deleted":
            self.session.save(self._earlier("same"), self.id)
            into_subject(self.session.storage.discard, self.id)
        elif kind in OVERWRITES:
            self.session.save(self._earlier(kind), self.id)
            if kind == "twice":
                self.session.save(self._earlier("larger"), self.id)
                self.session.save(self._earlier("same"), self.id)

    def _fail(self, phase: str) -> None:
        fault = Fault(phase=phase, ranks=(0,), after=phase == "write_data")
        if self.session.drives_storage:
            self.session.attempt(self.session.save, self._earlier("same"), self.id, faults=(fault,))

    def _earlier(self, kind: str) -> dict[str, Any]:
        if kind in NEARLY:
            return self._nearly(NEARLY[kind])
        # The earlier state is plain but for what `before` varies, so that a finding is about the state that replaced
        # it.
        row = {**self.row, "memory": "own", "content": "noise"}
        if kind in ("smaller", "larger"):
            row["shape"] = "one" if kind == "smaller" else "odd"
        # Texts and bytes grow with the version.
        found = entries(row, 12 if kind == "larger" else 1, plain="objects" in self.session.storage.unsupported)
        if kind == "other kinds" and "objects" not in self.session.storage.unsupported:
            found = [Entry(path=e.path, value=self._other_kind(e.value), law=e.law) for e in found]
        self.old = {entry.path: entry.expected() for entry in found}
        return nested(found) | ({GONE: coded(5, (9,), version=1)} if kind == "more keys" else {})

    def _nearly(self, change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
        plain = "objects" in self.session.storage.unsupported
        found = entries({**self.row, "memory": "own"}, 2, plain=plain)
        found = [replace(e, value=change(e.value)) if isinstance(e.value, torch.Tensor) else e for e in found]
        self.old = {entry.path: entry.expected() for entry in found}
        return nested(found)

    def _other_kind(self, value: Any) -> Any:
        return "text" if isinstance(value, torch.Tensor) else coded(6, (4,), version=1)

    # Saving.

    def _save(self) -> None:
        state = nested(self.entries)
        if self.row["style"] == "writer again":
            self.writer = self.new_writer(self.elsewhere)
            self.session.save(_another(), self.elsewhere, writer=self.writer, style="passed")
        self.save_state(state)
        self.input_is_unchanged(state)

    def save_state(self, state: dict[str, Any]) -> None:
        style = self.row["style"]
        if style in ("passed", "writer again"):
            writer = self.writer if self.writer is not None else self.new_writer(self.elsewhere)
            self.session.save(state, self.id, writer=writer, style="passed")
        else:
            self.session.save(state, self.id, writer=self.new_writer(self.id))

    def new_writer(self, checkpoint_id: Any) -> Any:
        return None if self.session.storage.writer is None else self.session.writer(checkpoint_id, **self.options)

    def input_is_unchanged(self, state: dict[str, Any]) -> None:
        for entry in self.entries:
            if reached(state, entry.path) is not entry.value:
                self.finds("input", Difference(_said(entry.path), (), "the object that was saved", "another one"))
            self.finds("input", *differences(self.expected[entry.path], entry.expected(), key=_said(entry.path)))

    # Loading.

    def _load(self) -> None:
        loaded, style = self.row["loaded"], self.row["style"]
        if loaded == "beside a save":
            self.session.save(_another(), self.session.new_id(f"{self.name}-aside"))
        if style == "reader again" and self.session.storage.reader is not None:
            self.session.save(_another(), self.elsewhere)
            self.reader = self.session.reader(self.elsewhere)
            self.loads_another(reader=self.reader)
        for asked in self._selections():
            self._load_into(asked)
        if style == "writer again":
            self.loads_another()
        if self.row["before"] == "more keys":
            self._nothing_is_left()

    def _selections(self) -> list[list[Entry]]:
        loaded, every = self.row["loaded"], self.entries
        # A list is asked for from its beginning on, and two names of one tensor together.
        whole = self.row["key"] == "list" or len(every) == 1 or self.row["memory"] == "tied"
        if loaded == "main only" and not whole:
            return [every[:1]]
        if loaded == "all but main" and not whole:
            return [every[1:]]
        if loaded == "one by one" and not whole:
            return [[entry] for entry in every]
        return [every, every] if loaded == "twice" else [every]

    def _load_into(self, asked: list[Entry]) -> None:
        # By identity of the saved tensor, so that tied entries have one tied target.
        targets: dict[int, Target] = {}
        leaves = {entry.path: self._target(entry, targets) for entry in asked}
        if self.row["loaded"] == "reversed" and self.row["key"] != "list":
            leaves = dict(reversed(leaves.items()))
        target = built(leaves)
        if self.row["style"] in ("passed", "writer again", "reader again") and self.session.storage.reader is not None:
            reader = self.reader if self.reader is not None else self.session.reader(self.elsewhere)
            self.session.load(target, self.id, reader=reader, style="passed")
        else:
            self.session.load(target, self.id)
        for entry in asked:
            self._compare(entry, leaves[entry.path], reached(target, entry.path))
        if any(item.outside_changed() for item in targets.values()):
            self.finds("place", Difference("", (), "a memory that is the target's alone", "changed beside it"))
        if _size(target) != _size(built(leaves)):
            self.finds("unasked", Difference("", (), f"{_size(built(leaves))} entries", f"{_size(target)} entries"))

    def _target(self, entry: Entry, made: dict[int, Target]) -> Any:
        if isinstance(entry.value, torch.Tensor):
            strided = self.row["loaded"] == "strided" and entry is self.entries[0]
            # Two names of one tensor are two names of one target.
            return made.setdefault(id(entry.value), target_like(entry.value, strided=strided)).tensor
        if isinstance(entry.value, Keeper):
            return Keeper(3, 3, plain="objects" in self.session.storage.unsupported)
        # Where None is awaited, something else has to give way to it.
        return HELD if self.expected[entry.path] is None else blank(self.expected[entry.path])

    def _compare(self, entry: Entry, given: Any, loaded: Any) -> None:
        wanted = self.expected[entry.path]
        seen = loaded.said() if isinstance(loaded, Keeper) else loaded
        found = differences(wanted, seen, key=_said(entry.path))
        # Exactly the value of the earlier save is no accident: the overwrite did not take hold, and that has its own
        # law.
        if found and entry.path in self.old and not differences(self.old[entry.path], seen):
            self.finds("old", *found)
        self.finds(self.law_of(entry), *found)
        # A load that puts a new tensor into the dict gives right values and leaves the caller's own tensor as it was.
        if isinstance(given, torch.Tensor) and not found:
            self.finds("place", *differences(wanted, given.detach(), key=_said(entry.path)))

    def loads_another(self, **arguments: Any) -> None:
        target = blank(_another())
        style = arguments or {"style": "constructor"}
        self.session.load(target, self.elsewhere, **style)
        self.finds("other id", *differences(_another(), target, key="another id"))

    def _nothing_is_left(self) -> None:
        target = {GONE: torch.zeros(9, dtype=torch.float64)}
        attempt: Attempt = self.session.attempt(self.session.load, target, self.id)
        if attempt.ok:
            self.finds("old", Difference(GONE, (), "gone with the state that had it", "still loaded"))

    def finds(self, law: str, *found: Difference) -> None:
        self.found.extend((law, item) for item in found)


def _another() -> dict[str, Any]:
    """Return the state of the other ids: names, shapes and dtypes that the main state may have too, other values."""
    keys = (path_of("words", 0)[0], "other")
    return {key: coded(9 + place, SHAPES["line"], version=8).float() for place, key in enumerate(keys)}


def _said(path: Path) -> str:
    return ".".join(map(str, path))[:80]


def _size(state: Any) -> int:
    if isinstance(state, dict):
        return sum(map(_size, state.values()))
    return sum(map(_size, state)) if isinstance(state, list) else 1
