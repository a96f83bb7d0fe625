"""From one recording, all states in which the job may have left the folder, cut by a kill or a cut of the power.

Which cuts of a job of several ranks are possible is a matter of what its ranks told each other, and that is not in a
recording. The rule, which would rather miss a state than make up one:
- Every beginning of the recorded order is possible: it happened.
- One rank may be further and another less far than in any beginning only within the windows that the caller names
  (while data is written), and only if nothing hints that they wait for each other there: in recordings made with each
  rank held back in turn, the others came to the end of their windows without it (`held_back`); no file is opened or
  named by both (a lock, a database); and a cut holds each folder that another rank works in (`free_cuts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dcp_conformance.harness.recording.operations import Operation, Recording
from dcp_conformance.harness.replay.disk import Disk
from dcp_conformance.harness.replay.inodes import Content
from dcp_conformance.harness.replay.losses import losses

MOST_MOMENTS = 120


@dataclass(frozen=True, kw_only=True)
class State:
    """The folder as it may be found."""

    tree: Mapping[str, Content]
    #: How many operations each rank had made.
    done: tuple[int, ...]
    #: The latest of them, in words.
    last: str
    #: What of them is not on the disk, in words.
    lost: str = "nothing"
    #: Whether the job had come back everywhere.
    returned: bool = False
    #: A number that the caller gives the recording it comes from.
    recording: int = 0

    def sentence(self) -> str:
        """Return where the job was cut and what was lost, as half a sentence."""
        ranks = f"{self.done[0]} operations" if len(self.done) == 1 else f"{_counted(self.done)} operations"
        after = "after save had returned, " if self.returned else ""
        lost = "" if self.lost == "nothing" else f"; lost: {self.lost}"
        return f"{after}{ranks} had happened, the last was '{self.last}'{lost}"


@dataclass(frozen=True)
class Window:
    """While this rank is on its own."""

    rank: int
    #: Number of the operation of the whole recording with which it begins.
    start: int
    #: Number of the operation before which it ends.
    stop: int

    def operations(self, recording: Recording) -> list[Operation]:
        """Return what this rank did in it."""
        inside = recording.operations[self.start : self.stop]
        return [operation for operation in inside if operation.rank == self.rank and not operation.failed]


def killed(recording: Recording, *, number: int = 0, first: int = 0, returned: int | None = None) -> Iterator[State]:
    """Yield the states that the death of all processes leaves: every beginning.

    first: number of operations from which on; returned: number of operations by the return of the job.
    """
    for disk, place, last, whole in _moments(recording, journal=True):
        if whole and place >= first:
            yield State(
                tree=disk.tree(), done=_done(recording, place), last=last, returned=_is_past(place, returned),
                recording=number,
            )  # fmt: skip


def power_cut(recording: Recording, *, journal: bool, number: int = 0, returned: int | None = None) -> Iterator[State]:
    """Yield the states that a power cut leaves, by one of the two models of harness.replay.disk.

    Of more than MOST_MOMENTS, those after writes are left out first.
    """
    worthwhile = _worthwhile(recording, returned)
    for disk, place, last, whole in _moments(recording, journal=journal):
        if place not in worthwhile:
            continue
        past, done = whole and _is_past(place, returned), _done(recording, place)
        for loss in losses(disk):
            yield State(
                tree=disk.tree(lost=loss.names, contents=dict(loss.contents)), done=done, last=last, lost=loss.said,
                returned=past, recording=number,
            )  # fmt: skip


def held_back(recording: Recording, rank: int, windows: Sequence[Window]) -> bool:
    """Tell whether all others were through with their windows before this rank, held back, did anything in its own."""
    own = [item.sequence for window in windows if window.rank == rank for item in window.operations(recording)]
    others = [item.sequence for window in windows if window.rank != rank for item in window.operations(recording)]
    return bool(own and others) and max(others) < min(own)


def why_not_free(recording: Recording, windows: Sequence[Window]) -> str:
    """Return what hints that two ranks wait for each other within their windows; "" for nothing."""
    if len(windows) != 2:
        return f"cuts between ranks are made for two of them, not for {len(windows)}"
    first, second = (_touched(window.operations(recording)) for window in windows)
    shared = sorted(map(str, first & second))
    if shared:
        return f"both ranks use {shared[0]}"
    early = max(window.start for window in windows)
    if any(item.sequence < early for window in windows for item in window.operations(recording)):
        return "a rank was already writing when the other was not yet ready to"
    return ""


def free_cuts(recording: Recording, windows: Sequence[Window]) -> Iterator[State]:
    """Yield the states left by the death of all processes when each rank is anywhere in its window; see the module."""
    first, second = (window.operations(recording) for window in windows)
    begin, least = max(window.start for window in windows), (_needed(first, second), _needed(second, first))
    before = [item for item in recording.operations[:begin] if not item.failed]
    for count in range(least[0], len(first) + 1):
        disk = Disk(recording.before)
        begun = [*before, *first[:count], *second[: least[1]]]
        for operation in sorted(begun, key=lambda item: item.sequence):
            disk.play(operation)
        for number in range(least[1], len(second) + 1):
            if number > least[1]:
                disk.play(second[number - 1])
            made = [*before, *first[:count], *second[:number]]
            yield State(tree=disk.tree(), done=_counts(recording, made), last=_last(made))


def _moments(recording: Recording, *, journal: bool) -> Iterator[tuple[Disk, int, str, bool]]:
    """(the disk, number of operations done, the last one, whether it is over) from before the first operation on.

    A synchronous write is two moments: while it is on its way to the disk, and when it is there.
    """
    disk, last = Disk(recording.before, journal=journal), "none"
    yield disk, 0, last, True
    for place, operation in enumerate(recording.operations, start=1):
        disk.play(operation)
        last = operation.describe()
        if disk.is_synchronous(operation):
            yield disk, place, last, False
            disk.settle(operation)
        yield disk, place, last, True


def _worthwhile(recording: Recording, returned: int | None) -> set[int]:
    """Return after how many operations the power is cut. States hold whole contents, so of many not all are chosen."""
    places = range(len(recording.operations) + 1)
    others = [place for place in places if not place or recording.operations[place - 1].call != "write"]
    writes = [place for place in places if place and recording.operations[place - 1].call == "write"]
    chosen = _evenly(others, MOST_MOMENTS)
    chosen += _evenly(writes, MOST_MOMENTS - len(chosen))
    return {*chosen, *(place for place in places if _is_past(place, returned))}


def _evenly(places: list[int], most: int) -> list[int]:
    return places if len(places) <= most else [places[number * len(places) // most] for number in range(most)]


def _is_past(place: int, returned: int | None) -> bool:
    return returned is not None and place >= returned


def _done(recording: Recording, place: int) -> tuple[int, ...]:
    return _counts(recording, recording.operations[:place])


def _counts(recording: Recording, made: Sequence[Operation]) -> tuple[int, ...]:
    ranks = 1 + max((item.rank for item in recording.operations), default=0)
    return tuple(sum(item.rank == rank and not item.failed for item in made) for rank in range(ranks))


def _counted(done: tuple[int, ...]) -> str:
    return " and ".join(f"{count} of rank {rank}'s" for rank, count in enumerate(done))


def _last(made: Sequence[Operation]) -> str:
    return made[-1].describe() if made else "none"


def _touched(operations: Sequence[Operation]) -> set[int | str]:
    """Return the names and files, but for folders: those that two ranks may both make, and work in."""
    found: set[int | str] = set()
    for operation in operations:
        if operation.call in ("mkdir", "fsync", "syncfs", "sync", "close"):
            continue
        found |= {operation.path} if operation.file < 0 else {operation.path, operation.file}
        found |= {operation.target} - {""}
    return found


def _needed(own: Sequence[Operation], others: Sequence[Operation]) -> int:
    """Return how many operations a rank must have made before the other's were possible: it made their folder."""
    used = [path for item in others for path in (item.path, item.target) if path]
    needed = 0
    for number, operation in enumerate(own, start=1):
        if operation.call == "mkdir" and any(f"{path}/".startswith(f"{operation.path}/") for path in used):
            needed = number
    return needed
