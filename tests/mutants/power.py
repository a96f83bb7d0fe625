"""Bugs that only a power cut shows: save returns while the disk has nothing yet."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

from dcp_conformance.harness import control
from tests.mutants.making import storage


class _HastyWriter(control.Writer):
    """Leaves it to the system when bytes go to the disk."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        with mock.patch.object(os, "fsync", lambda descriptor: None):
            return super().write_data(plan, planner)

    def finish(self, metadata: Any, results: Any) -> None:
        with mock.patch.object(os, "fsync", lambda descriptor: None):
            super().finish(metadata, results)


never_syncs = storage(breaks=["DUR-14"], writer=_HastyWriter)
