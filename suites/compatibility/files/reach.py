"""Scenarios that need the stored bytes give None where those are beyond reach. Data only: neither torch nor pytest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dcp_conformance.harness.cluster import Outcome, Raised
from dcp_conformance.harness.laws.verbs import NotApplicable, Untestable, mentions, must_return

NO_SAFETENSORS = "No module named 'safetensors"


def reachable(outcomes: Sequence[Outcome]) -> list[Any]:
    """What the ranks returned; NotApplicable where the subject's stored bytes cannot be read or written."""
    values = must_return(outcomes)
    if None in values:
        raise NotApplicable("the stored bytes of the backend are beyond reach (stored_bytes)")
    return values


def with_safetensors(outcomes: Sequence[Outcome]) -> list[Any]:
    """What the ranks returned; Untestable where a package is missing that torch's HuggingFace pair is built on."""
    for outcome in outcomes:
        if isinstance(outcome, Raised) and mentions(outcome.error, NO_SAFETENSORS):
            raise Untestable("the package safetensors, which the HuggingFace files need, is not installed")
    return must_return(outcomes)
