"""From what a rank said, or did not say, to its outcome."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness.cluster import processes
from dcp_conformance.harness.cluster.exceptions import record
from dcp_conformance.harness.cluster.functions import FunctionName
from dcp_conformance.harness.cluster.outcomes import Died, ExceptionRecord, Hung, Outcome, Raised, Returned
from dcp_conformance.harness.cluster.seat import Seat
from dcp_conformance.harness.cluster.watch import Silence
from dcp_conformance.harness.cluster.wire import NotPlainData, loads

Ending = tuple[bool, int]
"""(By its own exit, exit code or signal number)."""


def outcome_of(
    seat: Seat, *, name: FunctionName, started: float, waited: float, silence: Silence | None = None
) -> Outcome:
    """What a rank did in a run that began at `started` (monotonic clock) and was over `waited` seconds later."""
    base = Outcome(rank=seat.rank, events=seat.events(started), output=seat.output(), seconds=waited)
    if seat.reply is not None:
        _kind, _number, kind, payload, seconds, _clean = seat.reply
        return _answered(base, kind, payload, name, seconds)
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


def exception_in(payload: bytes) -> ExceptionRecord:
    """The exception that a rank wrote down."""
    found = loads(payload)
    assert isinstance(found, ExceptionRecord)
    return found


def _answered(base: Outcome, kind: str, payload: bytes, name: FunctionName, seconds: float) -> Outcome:
    facts: dict[str, Any] = {**vars(base), "seconds": seconds}
    if kind == "raised":
        return Raised(**facts, error=exception_in(payload))
    try:
        return Returned(**facts, value=loads(payload, ("dcp_conformance", name.package)))
    except NotPlainData as error:
        what = f"{name} returned a value that is not plain data (it holds {error}): make it plain on the rank."
    except Exception as error:  # a class that pickles and does not unpickle
        what = f"{name} returned a value that cannot be read: {type(error).__name__}: {error}"
    return Raised(**facts, error=record(TypeError(what)))
