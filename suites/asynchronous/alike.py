"""What scenarios about the arguments of async_save observe: plain data that the judge can read without torch."""

from __future__ import annotations

from dataclasses import dataclass

from dcp_conformance.harness.laws.observations import Attempt, Difference


@dataclass(frozen=True, kw_only=True)
class Honoured:
    """One argument given to async_save: how the save ended on this rank, and what a load gives otherwise."""

    argument: str
    ended: Attempt
    found: list[Difference]
