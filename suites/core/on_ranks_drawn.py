"""Combinations of one process, saved by save."""

from __future__ import annotations

from dcp_conformance.harness.laws.drawn import Trip
from dcp_conformance.harness.states.varied import Combination
from dcp_conformance.harness.subject.round_trip import RoundTrip, round_trips
from dcp_conformance.harness.subject.session import Session


def saved_and_loaded(session: Session, rows: list[Combination], name: str) -> list[Trip]:
    """Report how each combination went, up to the first that breaks a law."""
    return round_trips(session, rows, name, RoundTrip)
