"""What a rank says to the process that drives it. Values travel inside as text: they may be readable or not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Told:
    """Something happened on a rank; data: plain data as text; at: on the monotonic clock."""

    kind: str
    data: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A new rank is set up."""

    device: str
    backend: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A new rank could not be set up; error: an ExceptionRecord as text."""

    error: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How run `number` ended."""

    number: int
    raised: bool
    payload: str
    """The value, or an ExceptionRecord, as text."""
    seconds: float
    clean: bool
    """The rank's fingerprint was right when the run ended."""
    replaced: tuple[str, ...]
    """Functions that evidence hangs on and that are not what they were; see guard.py."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a rank found after run `number`."""

    number: int
    numbers: tuple[int, ...] | None
    """What the barrier gathered; None without a process group."""
    differences: tuple[str, ...]
    newcomers: tuple[str, ...]
    changed: tuple[str, ...]
    """Loaded values that were right and are not any more; see guard.py."""


Reply = Ready | Failed | Answer | Proof
