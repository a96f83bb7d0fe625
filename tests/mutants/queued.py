"""Bugs of engines and writers that show when more is waiting than they have room for."""

from __future__ import annotations

import collections
import copy
import functools
import threading
from concurrent.futures import Future
from typing import Any

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from tests.mutants.making import engine, storage

_ROOM = 16


class _Worker:
    """Saves one after the other what is waiting; of more than it has room for, the oldest is taken for done."""

    def __init__(self) -> None:
        self._waiting: collections.deque[tuple[Any, dict[str, Any], Future[Any]]] = collections.deque()
        self._some = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, state: Any, arguments: dict[str, Any]) -> Future[Any]:
        future: Future[Any] = Future()
        with self._some:
            self._waiting.append((state, arguments, future))
            if len(self._waiting) > _ROOM:
                self._waiting.popleft()[2].set_result(None)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work)
                self._thread.start()
        return future

    def _work(self) -> None:
        while True:
            with self._some:
                if not self._waiting:
                    self._thread = None
                    return
                state, arguments, future = self._waiting.popleft()
            try:
                future.set_result(reference_impl.save(state, **arguments))
            except BaseException as error:
                future.set_exception(error)


_WORKER = _Worker()
_OWN = ("async_checkpointer_type", "async_stager")


@functools.wraps(reference_impl.async_save)
def _queued(state_dict: Any, **arguments: Any) -> Any:
    return _WORKER.put(copy.deepcopy(state_dict), {name: item for name, item in arguments.items() if name not in _OWN})


class _FullQueueWriter(control.Writer):
    """Hands items to its threads by way of a queue, and does not look whether that took them."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        results = done.wait()
        if _ROOM < len(results) <= 2 * _ROOM:
            (self._root / results[_ROOM].storage_data).unlink()
        return done


drops_what_waits_too_long = engine(breaks=["ASYNC-09"], async_save=_queued)
loses_the_seventeenth_item = storage(breaks=["WRITE-01"], writer=_FullQueueWriter)
