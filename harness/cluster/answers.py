"""From what a rank said, or did not say, to its outcome."""

from __future__ import annotations

import signal
from typing import Any

from dcp_conformance.harness.cluster import processes
from dcp_conformance.harness.cluster.exceptions import record
from dcp_conformance.harness.cluster.functions import FunctionName
from dcp_conformance.harness.cluster.messages import Answer, Failed
from dcp_conformance.harness.cluster.outcomes import Died, Doubt, ExceptionRecord, Hung, Outcome, Raised, Returned
from dcp_conformance.harness.cluster.seat import Seat
from dcp_conformance.harness.cluster.watch import Silence
from dcp_conformance.harness.plain.records import ROOTS, NotPlainData
from dcp_conformance.harness.plain.text import Malformed, loads

Ending = tuple[bool, int]
"""(By its own exit, exit code or signal number)."""


def outcome_of(
    seat: Seat, *, name: FunctionName, number: int, started: float, waited: float, silence: Silence | None = None
) -> Outcome:
    """What a rank did in run `number`, begun at `started` (monotonic clock) and over `waited` seconds later."""
    base = Outcome(rank=seat.rank, events=seat.events(started), output=seat.output(), seconds=waited)
    if seat.garbled:
        return _garbled(base, seat.garbled)
    if seat.reply is not None:
        if not isinstance(seat.reply, Answer) or seat.reply.number != number:
            return _garbled(base, "the rank answered what it was not asked")
        return _answered(base, seat.reply, name)
    if silence is not None:
        return Hung(**vars(base), stack=silence.stack, stopped=silence.stopped, waited=waited)
    assert seat.ending is not None, "a rank that neither answered nor ended is silent"
    by_exit, status = seat.ending
    return Died(**vars(base), signal=None if by_exit else status, exit_code=status if by_exit else None)


def tell_ending(ending: Ending | None) -> str:
    """How a process ended, in words."""
    if ending is None:
        return "not yet"
    by_exit, status = ending
    return f"exit code {status}" if by_exit else processes.signal_name(status)


def why_not_started(seat: Seat) -> str:
    """The traceback of a rank that could not be set up, or what it said instead of one."""
    if not isinstance(seat.reply, Failed):
        return seat.garbled or f"it said {seat.reply!r:.200}"
    try:
        return _exception_in(seat.reply.error).traceback
    except (Malformed, NotPlainData) as error:
        return str(error)


def _exception_in(text: str) -> ExceptionRecord:
    found = loads(text)
    if not isinstance(found, ExceptionRecord):
        raise Malformed("no record of an exception")
    return found


def _garbled(base: Outcome, why: str) -> Died:
    """A rank that is not believed any more: its world is killed."""
    return Died(**{**vars(base), "doubts": (Doubt("garbled", why),)}, signal=signal.SIGKILL)


def _answered(base: Outcome, answer: Answer, name: FunctionName) -> Outcome:
    doubts = tuple(Doubt("replaced", what) for what in answer.replaced)
    facts: dict[str, Any] = {**vars(base), "seconds": answer.seconds, "doubts": doubts}
    try:
        if answer.raised:
            return Raised(**facts, error=_exception_in(answer.payload))
        return Returned(**facts, value=loads(answer.payload, (*ROOTS, name.package)))
    except Malformed as error:
        return _garbled(base, f"a value that cannot be read: {error}")
    except NotPlainData as error:
        what = f"{name} returned a value that is not plain data (it holds {error}): make it plain on the rank."
    return Raised(**facts, error=record(TypeError(what)))
