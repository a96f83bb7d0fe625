"""Saves during which one file operation fails, is cut short or is slow, and what loads after each of them."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dcp_conformance.harness.recording import operations
from dcp_conformance.harness.recording.operations import Operation, Recording
from dcp_conformance.harness.recording.policy import Rule
from dcp_conformance.harness.replay.disk import Disk, UnplayableError
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.harness.subject.watch_ranks import apart, folder_of, recorded
from dcp_conformance.suites.durability.crash.on_ranks_syncing import option_sets, save_with

OLD, NEW = 1, 2
# What the kernel may answer, for each kind of operation: a full disk or quota, a broken, read-only or forbidden one.
ERRORS: Mapping[str, tuple[int, ...]] = {
    "mkdir": (errno.EACCES, errno.ENOSPC, errno.EROFS),
    "open": (errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS, errno.EDQUOT),
    "write": (errno.ENOSPC, errno.EIO, errno.EDQUOT),
    "truncate": (errno.ENOSPC, errno.EIO),
    "fsync": (errno.EIO, errno.ENOSPC, errno.EDQUOT),
    "close": (errno.EIO, errno.ENOSPC, errno.EDQUOT),
    "rename": (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS),
    "link": (errno.EIO, errno.ENOSPC, errno.EACCES),
    "unlink": (errno.EIO, errno.EACCES, errno.EROFS),
}
# A disk that is full stays full for all that takes room.
NEED_ROOM = ("mkdir", "open", "write", "truncate", "fsync", "rename", "link")
MOST_PER_KIND = 10
MOST_PER_THREAD = 5
DELAY = 0.03


def failing_saves(session: Session, situation: str, how: str) -> list[dict[str, Any]]:
    """Report what each point gave; situation: "fresh" or "overwrite"; how: "once", "from_then_on" or "short_or_slow".

    The save is recorded first, and each of its operations that is a point then meets its fault in a save of its own.
    """
    if situation == "overwrite":
        session.needs("overwrite")
    found: list[dict[str, Any]] = []
    for number, options in enumerate(option_sets(session)):
        made = _recorded(session, f"{situation}{number}", situation, options)
        unseen = [item.describe() for item in made if item.call == "opaque" and not item.failed]
        if unseen:
            session.give_up(f"it writes in a way in which no fault can be made: {unseen[0]}")
        for place, rule in enumerate(points(made, how)):
            seen = _under_fault(session, f"{situation}{number}-{place}", situation, options, rule)
            what = {"point": said(rule), "kind": rule.calls[0], "errno": answered(rule), "options": str(options or "")}
            found.append({**what, **seen})
    return found


def points(made: Sequence[Operation], how: str) -> Iterator[Rule]:
    """Yield the faults to go through, for a save that makes these operations."""
    done = [operation for operation in made if not operation.failed]
    several = len({operation.thread for operation in done}) > 1
    counts = Counter((operation.call, operation.thread if several else -1) for operation in done)
    for (call, thread), count in sorted(counts.items()):
        if call not in ERRORS:
            continue
        base = Rule(calls=(call,), thread=thread, errno=errno.EIO)
        yield from _of_kind(base, count, how, MOST_PER_THREAD if several else MOST_PER_KIND)


def _of_kind(base: Rule, count: int, how: str, most: int) -> Iterator[Rule]:
    call = base.calls[0]
    places = _spread(count, min(count, most))
    if how == "once":
        errors = ERRORS[call]
        for turn in range(max(len(places), len(errors))):
            yield replace(base, nth=places[turn % len(places)], errno=errors[turn % len(errors)])
    elif how == "from_then_on" and call in NEED_ROOM:
        for nth in places:
            yield replace(base, calls=(call, *(kind for kind in NEED_ROOM if kind != call)), nth=nth, sticky=True,
                          errno=errno.ENOSPC)  # fmt: skip
    elif how == "short_or_slow" and call == "write":
        yield from (replace(base, nth=nth, action="short") for nth in places)
        yield replace(base, nth=count, action="slow", seconds=DELAY)


def _spread(count: int, most: int) -> list[int]:
    """`most` of the numbers from 1 to `count`, the first and the last among them."""
    return sorted({1 + round(turn * (count - 1) / max(1, most - 1)) for turn in range(most)})


def said(rule: Rule) -> str:
    """A fault in words: `write 3 of thread 1 fails with ENOSPC`."""
    whose = "" if rule.thread == -1 else f" of thread {rule.thread}"
    fails = {"short": "writes half", "slow": "is slow"}.get(rule.action, f"fails with {errno.errorcode[rule.errno]}")
    return f"{rule.calls[0]} {rule.nth}{whose} {fails}{' and so does all that follows' if rule.sticky else ''}"


def answered(rule: Rule) -> int:
    """Return the error number that an operation gets; 0 for a fault that is no error."""
    return 0 if rule.action in ("short", "slow") else rule.errno


def _recorded(session: Session, name: str, situation: str, options: Mapping[str, Any]) -> tuple[Operation, ...]:
    inside, checkpoint_id = _prepared(session, name, situation, options)
    with recorded(session, name, place=name) as watching:
        save_with(inside, session.suited(state(NEW)), checkpoint_id, options)
    shutil.rmtree(folder_of(session, name))
    return operations.load(Path(watching.path)).operations


def _under_fault(session: Session, name: str, situation: str, options: Mapping[str, Any], rule: Rule) -> dict[str, Any]:
    syncs = rule.calls[0] == "fsync"
    with recorded(session, name, place=name, keep=syncs) as watching:
        inside, checkpoint_id = _prepared(session, name, situation, options)
        watching.faults(rule)
        saved = session.attempt(save_with, inside, session.suited(state(NEW)), checkpoint_id, options)
        reached = watching.reached().get(0, 0)
        watching.faults()
    target = blank(session.suited(state(OLD)))
    loaded = session.attempt(inside.load, target, checkpoint_id)
    unlike = {version: differences(session.suited(state(version)), target, limit=1) for version in (OLD, NEW)}
    shutil.rmtree(folder_of(session, name), ignore_errors=True)
    return {
        "reached": reached, "saved": saved, "attempt": loaded, "blind": watching.blind, "means": watching.means,
        "unsynced": _unsynced(operations.load(Path(watching.path))) if syncs else "",
        "unlike": {version: [item.sentence() for item in unlike[version]] for version in unlike},
    }  # fmt: skip


def _unsynced(recording: Recording) -> str:
    """A file whose sync failed, which nothing synced afterwards, and which was there at the end; "" if there is none.

    After a failed sync the data is still in memory, where a load finds it, and never gets to the disk.
    """
    disk, failed = Disk(recording.before), {}  # type: tuple[Disk, dict[int, str]]
    for operation in recording.operations:
        try:
            disk.play(operation)
        except UnplayableError:
            return ""  # under a fault it took another way, which cannot be followed
        node = disk.node_of(operation)
        if operation.call == "fsync" and operation.failed and node is not None:
            failed[node] = operation.path
    lost = [path for node, path in failed.items() if node in disk.dirty() and disk.has_name(node)]
    return min(lost, default="")


def _prepared(session: Session, name: str, situation: str, options: Mapping[str, Any]) -> tuple[Session, Any]:
    inside = apart(session, name)
    checkpoint_id = inside.new_id()
    if situation == "overwrite":
        save_with(inside, session.suited(state(OLD)), checkpoint_id, options)
    return inside, checkpoint_id


def state(version: int) -> dict[str, Any]:
    """Few values, each of which says of which save it is."""
    tensors = {f"t{number}": coded(number, (600,), version=version) for number in range(2)}
    return {**tensors, "step": version}
