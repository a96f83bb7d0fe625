"""A planner whose metadata no storage can write, so that its own finish fails and not a tap before it."""

from __future__ import annotations

import threading
from typing import Any

from dcp_conformance.harness.faults.storage import announce


class Unstorable:
    """A planner whose data in the metadata cannot be pickled; in all else the one that it is given."""

    def __init__(self, planner: Any) -> None:
        self._planner = planner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._planner, name)

    def create_global_plan(self, all_plans: Any) -> Any:
        """See torch's planner."""
        plans, metadata = self._planner.create_global_plan(all_plans)
        announce("fault", phase="finish", what="metadata that cannot be pickled")
        metadata.planner_data = {"lock": threading.Lock()}
        return plans, metadata
