"""Laws about failures that all ranks must share: who failed, with what, told alike everywhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dcp_conformance.harness.cluster import ExceptionRecord
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.laws.verbs import Broken, described, of_subject, unexpected

CHECKPOINT_EXCEPTION = "CheckpointException"


def must_fail_everywhere(attempts: Sequence[Attempt]) -> None:
    """Broken unless every rank got a CheckpointException."""
    for rank, attempt in enumerate(attempts):
        if attempt.error is None:
            raise Broken("the call returned although another rank failed", kind="not raised", rank=rank)
        if not of_subject(attempt.error):
            raise unexpected(attempt.error, rank)
        if not attempt.error.is_a(CHECKPOINT_EXCEPTION):
            raise Broken(
                f"it got {described(attempt.error)} instead of a CheckpointException",
                kind="other exception", rank=rank, evidence={"traceback": attempt.error.traceback},
            )  # fmt: skip


def must_blame_exactly(attempts: Sequence[Attempt], ranks: Collection[int]) -> None:
    """Broken unless the failures that each rank got are those of exactly `ranks`."""
    for rank, attempt in enumerate(attempts):
        named = sorted(failures_of(attempt))
        if named != sorted(ranks):
            raise Broken(f"it was told that ranks {named} failed; ranks {sorted(ranks)} did", kind="ranks", rank=rank)


def must_tell_original(attempts: Sequence[Attempt], type_name: str, text: str) -> None:
    """Broken unless each failure is the original exception: of the class `type_name`, with `text` in its message."""
    for rank, attempt in enumerate(attempts):
        for failed, error in failures_of(attempt).items():
            if not error.is_a(type_name) or text not in error.text:
                raise Broken(
                    f"it was told that rank {failed} raised {described(error)}; it raised a {type_name} in {text}",
                    kind="exception changed", rank=rank,
                )  # fmt: skip


def must_tell_all_alike(attempts: Sequence[Attempt]) -> None:
    """Broken unless all ranks got the same failures."""
    told = [{rank: (error.type_name, error.text) for rank, error in failures_of(item).items()} for item in attempts]
    for rank, failures in enumerate(told):
        if failures != told[0]:
            raise Broken(f"it was told {failures}, and rank 0 {told[0]}", kind="ranks disagree", rank=rank)


def failures_of(attempt: Attempt) -> dict[int, ExceptionRecord]:
    """Return the failures that a rank was told of: none where it got no CheckpointException."""
    return {} if attempt.error is None or attempt.error.failures is None else attempt.error.failures
