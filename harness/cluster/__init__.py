"""Warm ranks that run functions together and answer with outcomes as data.

The driving process never imports torch or the code under test: only the fork server and its ranks do.
"""

from __future__ import annotations

from dcp_conformance.harness.cluster.config import DEFAULT_PRELOAD, ClusterConfig
from dcp_conformance.harness.cluster.errors import ClusterError
from dcp_conformance.harness.cluster.local import Cluster
from dcp_conformance.harness.cluster.outcomes import (
    Died,
    Doubt,
    Event,
    ExceptionRecord,
    Hung,
    Outcome,
    Raised,
    Returned,
)

__all__ = [
    "DEFAULT_PRELOAD",
    "Cluster",
    "ClusterConfig",
    "ClusterError",
    "Died",
    "Doubt",
    "Event",
    "ExceptionRecord",
    "Hung",
    "Outcome",
    "Raised",
    "Returned",
]
