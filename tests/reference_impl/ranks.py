"""Ranks for the tests of the reference implementation: forked processes with a gloo group, under a watchdog."""

from __future__ import annotations

import importlib
import os
import pickle
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from dcp_conformance.reference_impl import CheckpointException

#: Seconds after which a multi-rank test has hung.
LIMIT = 20.0


def run_ranks(
    world: int,
    function: Callable[..., Any],
    *args: Any,
    limit: float = LIMIT,
    group_timeout: float = 60.0,
    answering: int | None = None,
) -> list[Any]:
    """Run ``function(rank, *args)`` on ``world`` ranks; their results in rank order, of the first ``answering`` ranks.

    Ranks stay alive until all have answered: on gloo a dead peer would turn a hang into an error at once.
    Raises AssertionError with the text of an exception of a rank, or naming the ranks that gave no answer in time.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("torch._dynamo")  # DTensor imports it: once here instead of once per rank, 1 s each
    with tempfile.TemporaryDirectory() as scratch:
        pipes = [os.pipe() for _ in range(world)]
        children = [_fork(rank, world, scratch, pipes, function, args, group_timeout) for rank in range(world)]
        for _, write in pipes:
            os.close(write)
        try:
            answers = _collect([read for read, _ in pipes[:answering]], limit)
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            for read, _ in pipes:
                os.close(read)
    silent = [rank for rank in range(world)[:answering] if rank not in answers]
    assert not silent, f"ranks {silent} gave no answer within {limit} s; others: {answers}"
    broken = {rank: value for rank, (good, value) in answers.items() if not good}
    assert not broken, "\n".join(f"rank {rank}: {text}" for rank, text in broken.items())
    return [answers[rank][1] for rank in range(world)[:answering]]


def _fork(
    rank: int,
    world: int,
    scratch: str,
    pipes: list[tuple[int, int]],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    group_timeout: float,
) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    try:
        for other in (end for number, ends in enumerate(pipes) if number != rank for end in ends):
            os.close(other)  # an answer ends when all its writers are gone
        torch.set_num_threads(1)
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        warnings.simplefilter("ignore")
        store = dist.FileStore(os.path.join(scratch, "store"), world)
        dist.init_process_group(
            "gloo", store=store, rank=rank, world_size=world, timeout=timedelta(seconds=group_timeout)
        )
        try:
            answer = pickle.dumps((True, function(rank, *args)))
        except BaseException:
            answer = pickle.dumps((False, traceback.format_exc()))
        with os.fdopen(pipes[rank][1], "wb") as stream:
            stream.write(answer)
        time.sleep(300)
    finally:
        os._exit(1)
    raise AssertionError("unreachable")


def _collect(readers: list[int], limit: float) -> dict[int, tuple[bool, Any]]:
    deadline = time.monotonic() + limit
    chunks: dict[int, bytes] = dict.fromkeys(range(len(readers)), b"")
    answers: dict[int, tuple[bool, Any]] = {}
    waiting = dict(zip(readers, range(len(readers)), strict=True))
    while waiting and time.monotonic() < deadline:
        for reader in select.select(list(waiting), [], [], 0.1)[0]:
            rank = waiting[reader]
            data = os.read(reader, 1 << 20)
            chunks[rank] += data
            if not data:
                del waiting[reader]
                if chunks[rank]:
                    answers[rank] = pickle.loads(chunks[rank])
    return answers


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What a call did, as plain data: ``type`` and ``text`` of its exception, ``failures`` by rank, ``seconds``."""
    started = time.monotonic()
    try:
        function(*args, **kwargs)
    except BaseException as error:
        failures = {}
        if isinstance(error, CheckpointException):
            failures = {rank: (type(e).__name__, str(e)) for rank, (e, _) in error.failures.items()}
        kind, text = type(error).__name__, str(error)
    else:
        kind, text, failures = "", "", {}
    return {"type": kind, "text": text, "failures": failures, "seconds": time.monotonic() - started}


def failing(result: dict[str, Any]) -> list[int]:
    """Ranks in the failures of an outcome of a CheckpointException."""
    assert result["type"] == "CheckpointException", result
    return sorted(result["failures"])
