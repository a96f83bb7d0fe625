"""Saves in which taking or storing data fails: in one item, in another thread, on a full disk, for a moment."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from dcp_conformance.harness.faults.limits import file_size_limit
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, pattern
from dcp_conformance.harness.subject.relay import Recorder, load_planner, save_planner
from dcp_conformance.harness.subject.session import Session

ITEMS = 8
# A writer may end its threads and close its files in the background; the contract gives it this many seconds.
GRACE = 5.0
# Long enough for the other threads of a writer to take up their work while the first one is held back.
HOLD = 0.02
# How long the store is out of order where its error passes: longer than a first try, shorter than a patient writer.
PASSING = 0.1
# Below one page, and in the middle of the state's bytes. All objects together have 8 * 16 KiB.
LIMITS = (1, 1000, 16 * 1024 + 100, 70_001)


# One save with a fault: the writer's options, how the save ended, whether data was never had, the number of items, and
# the number of write results (None where write_data did not succeed).
Written = tuple[str, Attempt, bool, int, "int | None"]


def error_at_each_item(session: Session) -> list[Written]:
    """For each option set and each of 8 items: a save during which its data cannot be had."""
    seen = []
    for (number, options), item in itertools.product(enumerate(session.storage.option_sets), range(ITEMS)):
        checkpoint_id = session.new_id(f"set{number}-item{item}")
        seen.append(_failing(session, checkpoint_id, options, functools.partial(_writes, f"t{item}")))
    return seen


def _writes(name: str, write: Any) -> bool:
    return bool(write.index.fqn == name)


def error_off_the_calling_thread(session: Session) -> list[Written]:
    """For each option set: a save in which the first data that is asked for on another thread cannot be had."""
    seen = []
    caller = threading.get_ident()
    for number, options in enumerate(session.storage.option_sets):
        seen.append(
            _failing(session, session.new_id(f"set{number}"), options, lambda write: threading.get_ident() != caller)
        )
    return seen


def _failing(session: Session, checkpoint_id: Any, options: Mapping[str, Any], fails: Callable[[Any], bool]) -> Written:
    recorder, caller = Recorder(), threading.get_ident()
    # Items whose data was asked for in vain; one that is had at a second try is no longer among them.
    unserved: set[str] = set()

    def resolve(write: Any, data: Any) -> Any:
        if threading.get_ident() == caller:
            time.sleep(next(holds))
        if fails(write):
            unserved.add(write.index.fqn)
            announce("fault", phase="resolve_data", what="raise")
            raise OSError(5, "injected by dcp-conformance in resolve_data")
        unserved.discard(write.index.fqn)
        return data

    holds = itertools.chain((HOLD,), itertools.repeat(0.0))
    writer = recorder.around(session.writer(checkpoint_id, **options))
    attempt = session.attempt(
        session.save, _state(), checkpoint_id, writer=writer, planner=save_planner(session, resolve)
    )  # fmt: skip
    reported = None if recorder.reported is None else len(recorder.reported)
    return str(dict(options)), attempt, bool(unserved), len(recorder.planned), reported


def full_disk(session: Session) -> list[Any]:
    """Saves under file size limits: (limit, save, items, results or None, what a load gives otherwise)."""
    if "local_files" in session.storage.unsupported:
        session.excuse("the backend does not store in local files, so a full disk cannot be staged")
    seen = []
    for (number, options), limit in itertools.product(enumerate(session.storage.option_sets), LIMITS):
        checkpoint_id, recorder = session.new_id(f"set{number}-limit{limit}"), Recorder()
        writer = recorder.around(session.writer(checkpoint_id, **options))
        with file_size_limit(limit):
            attempt = session.attempt(session.save, _state(), checkpoint_id, writer=writer)
        reported = None if recorder.reported is None else len(recorder.reported)
        lost = _loaded(session, checkpoint_id) if attempt.ok else []
        seen.append(
            (f"{dict(options)} and files of at most {limit} bytes", attempt, len(recorder.planned), reported, lost)
        )
    return seen


def passing_error(session: Session) -> list[Any]:
    """Saves whose first calls fail: (what failed, save, whether it was reached, what a load gives otherwise)."""
    seen = [_passing_planner_error(session, calls) for calls in (1, 2, ITEMS)]
    if "local_files" not in session.storage.unsupported:
        for limit in (1, 20_000):
            checkpoint_id = session.new_id(f"limit{limit}")
            with file_size_limit(limit, lifted_after=PASSING):
                attempt = session.attempt(session.save, _state(), checkpoint_id)
            lost = _loaded(session, checkpoint_id) if attempt.ok else []
            seen.append((f"writes beyond byte {limit} failed for {PASSING} s", attempt, True, lost))
    return seen


def _passing_planner_error(session: Session, calls: int) -> Any:
    checkpoint_id, count = session.new_id(f"calls{calls}"), itertools.count(1)

    def resolve(write: Any, data: Any) -> Any:
        if next(count) <= calls:
            raise TimeoutError("injected by dcp-conformance: try again")
        return data

    attempt = session.attempt(session.save, _state(), checkpoint_id, planner=save_planner(session, resolve))
    lost = _loaded(session, checkpoint_id) if attempt.ok else []
    return f"the first {calls} calls of resolve_data failed", attempt, next(count) > 1, lost


def what_failures_leave_running(session: Session, failures: int) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Open descriptors and threads after the third failed save and after the last, and how many saves failed."""
    early, failed = (0, 0), 0
    for number in range(1, failures + 1):
        checkpoint_id, item = session.new_id(f"at{number}"), f"t{number % ITEMS}"

        def resolve(write: Any, data: Any, item: str = item) -> Any:
            if write.index.fqn == item:
                raise OSError(5, "injected by dcp-conformance in resolve_data")
            return data

        limited = number % 2 == 0 and "local_files" not in session.storage.unsupported
        with file_size_limit(20_000) if limited else contextlib.nullcontext():
            planner = {} if limited else {"planner": save_planner(session, resolve)}
            failed += not session.attempt(session.save, _state(), checkpoint_id, **planner).ok
        if number == 3:
            early = _settled(None)
    return early, _settled(early), failed


def half_written_objects(session: Session) -> list[str]:
    """Return the names of stored objects that end exactly where a file size limit cut them."""
    limit, checkpoint_id = 10_001, session.new_id("cut")
    with file_size_limit(limit):
        attempt = session.attempt(session.save, _state(), checkpoint_id)
    if attempt.ok:
        session.give_up("the save did not meet the limit on the size of files")
    blobs = session.blobs(checkpoint_id)
    return [] if blobs is None else [name for name in blobs.names() if len(blobs.read(name)) == limit]


def failed_read(session: Session) -> tuple[Attempt, list[str], list[Difference]]:
    """Let a load fail half way; report how it ended, which objects it removed, what a second load gives otherwise."""
    checkpoint_id, count = session.new_id("read"), itertools.count()
    session.save(_state(), checkpoint_id)
    blobs = session.blobs(checkpoint_id)
    before = set(blobs.names()) if blobs is not None else set()

    def seen(item: Any, value: Any) -> None:
        if next(count) == ITEMS // 2:
            raise OSError(5, "injected by dcp-conformance in resolve_tensor")

    attempt = session.attempt(session.load, blank(_state()), checkpoint_id, planner=load_planner(session, seen))
    after = set(blobs.names()) if blobs is not None else set()
    target = blank(_state())
    session.load(target, checkpoint_id)
    return attempt, sorted(before - after), differences(_state(), target)


def _loaded(session: Session, checkpoint_id: Any) -> list[str]:
    """Report what a load gives otherwise, in sentences; an error of the load is one of them."""
    target = blank(_state())
    attempt = session.attempt(session.load, target, checkpoint_id)
    if attempt.error is not None:
        return [f"the load raised {attempt.error.type_name}: {attempt.error.text.strip()[:200]}"]
    return [difference.sentence() for difference in differences(_state(), target)]


def _state() -> dict[str, torch.Tensor]:
    """Eight tensors of 16 KiB whose bytes cannot be compressed."""
    return {f"t{item}": pattern(f"t{item}", (4096,), torch.int32) for item in range(ITEMS)}


def _settled(limit: tuple[int, int] | None) -> tuple[int, int]:
    """Open descriptors and threads, waited for while one of them is above `limit`."""
    deadline = time.monotonic() + GRACE
    while True:
        gc.collect()
        now = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
        if limit is None or all(a <= b for a, b in zip(now, limit, strict=True)) or time.monotonic() > deadline:
            return now
        time.sleep(0.05)


def opted_out(session: Session) -> list[str]:
    """Return the capabilities that the storage opted out of."""
    return sorted(session.storage.unsupported)
