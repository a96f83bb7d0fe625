"""Bugs in what a failed or interrupted operation leaves behind: a state, an open file, a lock."""

from __future__ import annotations

import os
import uuid
from typing import Any

from dcp_conformance.harness import control
from tests.mutants.api_storage import _BusyWriter
from tests.mutants.making import storage


class _BusyUntilError(_BusyWriter):
    """Guards against two saves at a time, and knows of no way to fail but an Exception."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        try:
            return super().write_data(plan, planner)
        except Exception:
            self._busy = False
            raise


class _OpenReader(control.Reader):
    """Opens each file early, so that the system reads ahead."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        names = {self._names[request.storage_index] for request in plan.items}
        ahead = [os.open(self._root / name, os.O_RDONLY) for name in sorted(names)]
        done = super().read_data(plan, planner)
        for descriptor in ahead:
            os.close(descriptor)
        return done


class _LockingReader(control.Reader):
    """Tells by a file beside the checkpoint that it is being read."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        lock = self._root.with_name(f".{self._root.name[:100]}.{uuid.uuid4().hex[:8]}.reading")
        lock.touch()
        done = super().read_data(plan, planner)
        lock.unlink()
        return done


stays_busy_after_an_interrupt = storage(breaks=["API-28"], writer=_BusyUntilError)
closes_after_good_reads_only = storage(breaks=["RSRC-05"], reader=_OpenReader)
unlocks_after_good_reads_only = storage(breaks=["RSRC-06"], reader=_LockingReader)
