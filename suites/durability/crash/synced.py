"""Laws about one recording of a save: what was on the disk when it counted."""

from __future__ import annotations

from collections.abc import Iterable

from dcp_conformance.harness.laws.verbs import Broken, Untestable
from dcp_conformance.harness.recording.operations import Operation, Recording
from dcp_conformance.harness.replay.disk import Disk

_NAMING = ("rename", "exchange", "link", "symlink")


def data_before_commit(recording: Recording, commit: int, size: int) -> None:
    """Broken unless every file that holds data is on the disk when operation number `commit` (from 1) commits it.

    size: bytes of the saved tensors, which nobody can make smaller. The file that commits counts only if the others
    are too small to hold all the data, and it was complete before it got its name: what is still written when it
    commits cannot have been synced.
    """
    disk, last = _played(recording, commit - 1), recording.operations[commit - 1]
    before = set(disk.dirty())
    committing = disk.node_of(last)
    disk.play(last)
    others = [number for number, node in enumerate(disk.nodes) if node.kind == "file" and number != committing]
    held = sum(len(disk.nodes[number].live) for number in others if disk.has_name(number))
    if last.call in _NAMING and held < size and committing is not None:
        others.append(committing)
    for number in others:
        if number in before and disk.has_name(number) and not _is_index(disk, number):
            raise Broken(
                f"{_name(disk, number)} is committed by operation {commit} ('{last.describe()}') and is not on the "
                f"disk then: {_unsynced(disk, number)}",
                kind="not synced", rank=last.rank, evidence=evidence(recording.operations[:commit]),
            )  # fmt: skip


def everything_synced(recording: Recording, returned: int) -> None:
    """Broken unless every file is on the disk, whole, when save has returned everywhere."""
    disk = _played(recording, returned)
    for number in disk.dirty():
        if disk.has_name(number):
            raise Broken(
                f"{_name(disk, number)} is not on the disk when save has returned: {_unsynced(disk, number)}",
                kind="not synced", rank=0, evidence=evidence(recording.operations),
            )  # fmt: skip


def names_synced(recording: Recording, returned: int) -> None:
    """Broken unless the names of all new files and folders are on the disk when save has returned everywhere."""
    disk = _played(recording, returned)
    for change in disk.pending_names():
        lasting = [name for folder, name, node in change.puts if disk.path_of(node).split("/")[-1] == name]
        if lasting:
            raise Broken(
                f"the name {lasting[0]!r} is not on the disk when save has returned: its folder was not synced after "
                f"'{change.said}'",
                kind="name not synced", rank=0, evidence=evidence(recording.operations),
            )  # fmt: skip


def returned_at(recording: Recording, world: int) -> int:
    """How many operations were done when save had returned on every rank; Untestable if that was not noted."""
    marks = [count for count, text in recording.marks if text.startswith("returned on rank")]
    if len(marks) < world:
        raise Untestable(f"save returned on {len(marks)} of {world} ranks, so the recording has no end")
    return max(marks)


def evidence(operations: Iterable[Operation]) -> dict[str, str]:
    """The operations, one a line, for whoever wants to see for himself."""
    return {"operations": "\n".join(f"{item.sequence + 1} {item.describe()}" for item in operations)}


def _played(recording: Recording, count: int) -> Disk:
    # Strict: each folder is to be synced by itself, as POSIX has it.
    disk = Disk(recording.before, journal=False)
    for operation in recording.operations[:count]:
        disk.play(operation)
        if disk.is_synchronous(operation):
            disk.settle(operation)
    return disk


def _is_index(disk: Disk, number: int) -> bool:
    """Whether a file is SQLite's index of a write-ahead log: it holds no data and is made anew after a crash."""
    return disk.path_of(number).endswith("-shm")


def _name(disk: Disk, number: int) -> str:
    return repr(disk.path_of(number))


def _unsynced(disk: Disk, number: int) -> str:
    node = disk.nodes[number]
    return f"{len(node.durable)} of its {len(node.live)} bytes were there at its last sync"
