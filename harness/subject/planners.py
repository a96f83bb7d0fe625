"""torch's default planners as checks make them: an engine that is given one has not called torch of its own accord."""

from __future__ import annotations

from torch.distributed.checkpoint import default_planner


class DefaultSavePlanner(default_planner.DefaultSavePlanner):
    """torch's, given by a check."""


class DefaultLoadPlanner(default_planner.DefaultLoadPlanner):
    """torch's, given by a check."""


GIVEN = {"DefaultSavePlanner": DefaultSavePlanner, "DefaultLoadPlanner": DefaultLoadPlanner}
