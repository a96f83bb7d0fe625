"""What scenarios about the life of an id observe: plain data that the judge can read without torch, and its law."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.laws.verbs import must_match


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


def as_saved(observed: Iterable[Sequence[Look]]) -> None:
    """Broken unless every look of every rank found what was saved last."""
    looks = [list(own) for own in observed]
    for turn in range(len(looks[0])):
        must_match([own[turn].found for own in looks], f"what loads {looks[0][turn].when}")
