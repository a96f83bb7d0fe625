"""Says that it has read, and has not."""

from __future__ import annotations

from typing import Any

from torch.futures import Future

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Does nothing."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done: Future[None] = Future()
        done.set_result(None)
        return done
