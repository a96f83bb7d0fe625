"""The markers of the suites, as pytest lists them."""

from __future__ import annotations

MARKERS = (
    "clauses(*ids): the clauses that this test checks",
    "worlds(*sizes): run once for each of these world sizes, as `world`",
    "below_storage: its faults act below the storage API; no engine is blamed",
)
