"""From what a rank said, or did not say, to its outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dcp_conformance.harness.cluster import processes
from dcp_conformance.harness.cluster.codec import NotPlainData, loads
from dcp_conformance.harness.cluster.exceptions import record
from dcp_conformance.harness.cluster.functions import FunctionName
from dcp_conformance.harness.cluster.outcomes import Died, Doubt, ExceptionRecord, Hung, Outcome, Raised, Returned
from dcp_conformance.harness.cluster.seat import Seat
from dcp_conformance.harness.cluster.watch import Silence


class ChannelGarbage(Exception):
    """What came from a rank is none of our messages, so code under test wrote it: harness.laws.verbs knows the name."""


#: (By its own exit, exit code or signal number).
Ending = tuple[bool, int]


def outcome_of(
    seat: Seat, *, name: FunctionName, started: float, waited: float, silence: Silence | None = None
) -> Outcome:
    """Return what a rank did in a run that began at `started` (monotonic clock) and was over `waited` seconds later."""
    base = Outcome(rank=seat.rank, events=seat.events(started), output=seat.output(), seconds=waited)
    # Whatever answered there is not our main program, which knows what it was asked.
    if seat.reply is not None and seat.reply[0] != "answer":
        seat.garbage = "an answer to what it was not asked"
    # Before all else: of a channel that somebody else writes on, no answer counts, good or bad.
    if seat.garbage:
        base = replace(base, doubts=(Doubt("garbled", seat.garbage),))
        return Raised(**vars(base), error=record(ChannelGarbage(f"its channel to the harness carried {seat.garbage}")))
    if seat.reply is not None:
        _kind, _number, kind, payload, seconds, replaced, _clean = seat.reply
        base = replace(base, doubts=tuple(Doubt("replaced", str(what)) for what in replaced))
        return _answered(base, kind, payload, name, seconds)
    if silence is not None:
        return Hung(**vars(base), stack=silence.stack, stopped=silence.stopped, waited=waited)
    assert seat.ending is not None, "a rank that neither answered nor ended is silent"
    by_exit, status = seat.ending
    return Died(**vars(base), signal=None if by_exit else status, exit_code=status if by_exit else None)


def tell_ending(ending: Ending | None) -> str:
    """Say how a process ended, in words."""
    if ending is None:
        return "not yet"
    by_exit, status = ending
    return f"exit code {status}" if by_exit else processes.signal_name(status)


def exception_in(payload: bytes) -> ExceptionRecord:
    """Return the exception that a rank wrote down."""
    try:
        found = loads(payload)
    except NotPlainData as error:
        found = error
    if isinstance(found, ExceptionRecord) and isinstance(found.text, str) and isinstance(found.frames, tuple):
        return found
    return record(ChannelGarbage(f"its account of an exception was {str(found)[:200]}"))


def _answered(base: Outcome, kind: str, payload: bytes, name: FunctionName, seconds: float) -> Outcome:
    facts: dict[str, Any] = {**vars(base), "seconds": seconds}
    if kind == "raised":
        return Raised(**facts, error=exception_in(payload))
    try:
        return Returned(**facts, value=loads(payload))
    except NotPlainData as error:
        return Raised(**facts, error=record(ChannelGarbage(f"its answer to the harness was {error}")))
