"""Laws about what loads after a save that was interrupted: one whole version, or an error where that is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dcp_conformance.harness.cluster import Outcome, Returned
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.laws.verbs import Broken, described, of_subject, unexpected


def must_still_load(found: dict[str, Any]) -> None:
    """Broken unless a load gives one whole version."""
    attempt = found["attempt"]
    if attempt.error is not None:
        if not of_subject(attempt.error):
            raise unexpected(attempt.error, 0)
        raise Broken(
            f"neither the old nor the new checkpoint loads: {described(attempt.error)}",
            kind="lost", rank=0, evidence={"traceback": attempt.error.traceback},
        )  # fmt: skip
    must_not_mix(found)


def must_not_mix(found: dict[str, Any]) -> None:
    """Broken if a load returned something that is no whole version."""
    attempt, unlike = found["attempt"], found["unlike"]
    if attempt.error is not None and not of_subject(attempt.error):
        raise unexpected(attempt.error, 0)
    if attempt.ok and all(unlike.values()):
        parts = " and ".join(f"not version {version} ({said[0]})" for version, said in unlike.items())
        raise Broken(f"the load returned what was never saved: it is {parts}", kind="mixture", rank=0)


def must_be_new_if_returned(outcomes: Sequence[Outcome], found: dict[str, Any], new: int) -> None:
    """Broken if the save returned on every rank, whatever it met, and the new version does not load."""
    saves = [outcome.value for outcome in outcomes if isinstance(outcome, Returned)]
    if len(saves) < len(outcomes) or not all(isinstance(save, Attempt) and save.ok for save in saves):
        return
    attempt, unlike = found["attempt"], found["unlike"][new]
    if attempt.error is not None:
        must_still_load(found)
    if unlike:
        raise Broken(
            f"save returned on every rank, and what loads is not what it saved: {unlike[0]}", kind="not saved", rank=0
        )
