"""More saves at once than any queue holds: all are begun before the first is waited for."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.stagers import futures
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject

# One more than the usual length of a queue, and some that come behind it.
SAVES = 20
SLOW = 0.4
PATIENCE = 20.0


def many_at_once(session: Session) -> list[tuple[Attempt, list[Difference]]]:
    """Begin saves to an id each, the first of which is slow, and change the tensor after each call.

    For each: how it ended (a refused call counts as that), and what its id holds otherwise where it ended well.
    """
    ids = [session.new_id(f"queued{number}") for number in range(SAVES)]
    state, uploads = _state(0), []  # type: dict[str, Any], list[Any]
    for number, checkpoint_id in enumerate(ids):
        for key, value in _state(number).items():
            state[key].copy_(value)
        faults = (Fault(phase="write_data", ranks=(0,), kind="delay", seconds=SLOW),)
        given = {"faults": faults} if session.drives_storage and number == 0 else {}
        try:
            uploads.append(session.async_save(state, checkpoint_id, **given))
        except Exception as error:
            uploads.append(error)
    return [_ended(session, upload, ids[number], number) for number, upload in enumerate(uploads)]


def _ended(session: Session, upload: Any, checkpoint_id: Any, number: int) -> tuple[Attempt, list[Difference]]:
    attempt = session.attempt(_wait, upload)
    if not attempt.ok:
        return attempt, []
    target = blank(_state(number))
    session.load(target, checkpoint_id)
    return attempt, differences(_state(number), target)


def _wait(upload: Any) -> None:
    if isinstance(upload, Exception):
        raise upload
    into_subject(futures(upload)[1].result, PATIENCE)


def _state(number: int) -> dict[str, Any]:
    return {"t": coded(1, (50,), version=number + 1), "u": coded(2, (3, 4), version=number + 1)}
