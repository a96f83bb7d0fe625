"""Returns at once from write_data and read_data; threads of its own do the work and complete the futures later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.futures import Future

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _store

_LATER = 0.02  # seconds; the engine has long gone on to wait


def _later(work: Callable[..., Any], *args: Any) -> Future[Any]:
    done: Future[Any] = Future()

    def run() -> None:
        time.sleep(_LATER)
        try:
            result = work(*args)
        except BaseException as error:  # whatever it was, it belongs to whom waits for the future
            done.set_exception(error)
            return
        done.set_result(result)

    threading.Thread(target=run, name="late_futures", daemon=True).start()
    return done


class Writer(_store.Writer):
    """Writes in a thread of its own."""

    def write_data(self, plan: Any, planner: Any) -> Future[Any]:
        if torch.accelerator.is_available():
            torch.accelerator.current_stream().synchronize()  # the thread's own stream would not wait for the caller's
        return _later(self.written, plan, planner)


class Reader(_store.Reader):
    """Reads in a thread of its own."""

    def read_data(self, plan: Any, planner: Any) -> Future[None]:
        return _later(self.delivered, plan, planner)


backend = Backend(name="late_futures", writer=Writer, reader=Reader, unsupported=_store.UNSUPPORTED)
