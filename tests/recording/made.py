"""Recordings made by hand, from short lines, for tests of what is rebuilt from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dcp_conformance.harness.recording.operations import Operation, Recording
from dcp_conformance.harness.replay.disk import Disk
from dcp_conformance.harness.replay.inodes import Content

Line = tuple[Any, ...]


def recording(*lines: Line, before: dict[str, Content] | None = None, after: dict[str, Content] | None = None) -> Any:
    """A recording of such lines: ("write", path, file, offset, data), (call, path[, target]); a trailing dict has more.

    Without `after`, it is what replaying gives.
    """
    operations = tuple(_operation(number, line) for number, line in enumerate(lines))
    tree = _replayed(before or {}, operations) if after is None else after
    return Recording(watched="/watched", before=before or {}, after=tree, operations=operations, means="by hand")


def committed(name: str, data: bytes, *, file: int, folder: str = "id") -> list[Line]:
    """A file written beside its place, synced, renamed into it, and its folder synced."""
    path = f"{folder}/{name}"
    return [
        ("open", f"{path}.tmp", file, {"created": True}),
        ("write", f"{path}.tmp", file, 0, data),
        ("fsync", f"{path}.tmp", file),
        ("close", f"{path}.tmp", file),
        ("rename", f"{path}.tmp", path),
        ("fsync", folder),
    ]


def _operation(number: int, line: Line) -> Operation:
    more: dict[str, Any] = dict(line[-1]) if isinstance(line[-1], dict) else {}
    call, path, *rest = [item for item in line if not isinstance(item, dict)]
    if call == "write":
        more |= {"file": rest[0], "offset": rest[1], "data": rest[2]}
    elif call == "truncate":
        more |= {"file": rest[0], "offset": rest[1]}
    elif rest:
        more |= {"target": rest[0]} if isinstance(rest[0], str) else {"file": rest[0]}
    return Operation(**{"sequence": number, "rank": 0, "thread": 0, "call": call, "path": path, **more})


def _replayed(before: dict[str, Content], operations: Iterable[Operation]) -> dict[str, Content]:
    disk = Disk(before)
    for operation in operations:
        disk.play(operation)
    return disk.tree()
