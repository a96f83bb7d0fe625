"""What scenarios about the life of an id observe: plain data that the judge can read without torch."""

from __future__ import annotations

from dataclasses import dataclass

from dcp_conformance.harness.laws.observations import Attempt, Difference


@dataclass(frozen=True, kw_only=True)
class Look:
    """One load in the life of an id: when, and what it gave otherwise than was saved last."""

    when: str
    found: list[Difference]


@dataclass(frozen=True, kw_only=True)
class Retry:
    """A call that failed, the same call at once again, and what is loaded then."""

    call: str
    phase: str
    failed: Attempt
    again: Attempt
    found: list[Difference]
