"""Storages and planners that fail where a test tells them to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch.futures import Future

from dcp_conformance import reference_impl as ref


class LockedError(Exception):
    """Cannot be pickled."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class TwoArgumentsError(Exception):
    """Can be pickled and not unpickled."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{code}: {what}")


def failing_writer(
    path: str, phase: str, ranks: set[int], make: Callable[[], BaseException] = lambda: ValueError("injected")
) -> ref.FileSystemWriter:
    """A writer of which ``phase`` fails on ``ranks``; the phase ``future`` is a failed future of write_data."""

    class Failing(ref.FileSystemWriter):
        def write_data(self, plan: Any, planner: Any) -> Any:
            if phase == "future" and dist.get_rank() in ranks:
                future: Future[Any] = Future()
                future.set_exception(make())
                return future
            return super().write_data(plan, planner)

    return _sabotaged(Failing, path, phase, ranks, make)


def failing_reader(
    path: str, phase: str, ranks: set[int], make: Callable[[], BaseException] = lambda: ValueError("injected")
) -> ref.FileSystemReader:
    """A reader of which ``phase`` fails on ``ranks``; the phase ``future`` is a failed future of read_data."""

    class Failing(ref.FileSystemReader):
        def read_data(self, plan: Any, planner: Any) -> Any:
            if phase == "future" and dist.get_rank() in ranks:
                future: Future[Any] = Future()
                future.set_exception(make())
                return future
            return super().read_data(plan, planner)

    return _sabotaged(Failing, path, phase, ranks, make)


def _sabotaged(base: Any, path: str, phase: str, ranks: set[int], make: Callable[[], BaseException]) -> Any:
    def fail(self: Any, *args: Any, **kwargs: Any) -> Any:
        if dist.get_rank() in ranks:
            raise make()
        return getattr(base, phase)(self, *args, **kwargs)

    return (base if phase == "future" else type("Sabotaged", (base,), {phase: fail}))(path)
