"""What ranks saw at an id after a save that met a fault; data that both sides share."""

from __future__ import annotations

from dataclasses import dataclass

from dcp_conformance.harness.laws.observations import Attempt


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a load of everything gave. unlike: for each version, a first way in which it is not that one."""

    attempt: Attempt
    unlike: dict[int, list[str]]


@dataclass(frozen=True, kw_only=True)
class Left:
    """What lies at an id: how many objects, and the names of those that were begun and never finished."""

    objects: int
    uploads: tuple[str, ...]
