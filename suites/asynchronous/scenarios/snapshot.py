"""Change everything that can be changed while a save is under way."""

from __future__ import annotations

import io
import threading
from typing import Any

from harness.faults.fault import Fault
from harness.scenarios.compare import differences
from harness.scenarios.values import blank, coded
from harness.session import Session
from harness.spec import Attempt, Difference

# Long enough that a save which reads its values late, reads the changed ones.
SLOW = 0.3


def mutate_after_staging(session: Session) -> list[Difference]:
    """async_save with the engine's own stager and a slow writer, change every value, wait, load, compare."""
    checkpoint_id, slow = (
        session.new_id(),
        Fault(phase="write_data", ranks=tuple(range(64)), kind="delay", seconds=SLOW),
    )
    state = _mutable_state(session)
    wanted = _mutable_state(session)
    response = session.async_save(state, checkpoint_id, faults=(slow,), async_stager=session.stager())
    staged, uploaded = futures(response)
    if staged is not None:
        staged.result(30)
    _mutate(session, state)
    uploaded.result(30)
    target = blank(wanted)
    session.load(target, checkpoint_id)
    return differences(wanted, target)


def failure_reaches_the_future(session: Session, fault: Fault) -> Attempt:
    """How the upload future of an async_save with this fault ended."""
    response = session.async_save(_mutable_state(session), session.new_id(), faults=(fault,))
    return session.attempt(futures(response)[1].result, 30)


def save_and_load_in_a_thread(session: Session) -> list[Difference]:
    """Construct writer and reader here, use them in a second thread."""
    checkpoint_id, state = session.new_id(), {"t": coded(1, (64,), version=1), "n": 7}
    writer, reader, target = session.writer(checkpoint_id), session.reader(checkpoint_id), blank(state)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            session.save(state, checkpoint_id, writer=writer)
            session.load(target, checkpoint_id, reader=reader)
        except BaseException as error:  # carried to the thread that reports
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return differences(state, target)


def futures(response: Any) -> tuple[Any, Any]:
    """(staging, upload) of what async_save returned; staging is None where the call staged before it returned."""
    if hasattr(response, "upload_completion"):
        return response.staging_completion, response.upload_completion
    return None, response


def _mutable_state(session: Session) -> dict[str, Any]:
    return {
        "list": [1, 2, 3],
        "blob": io.BytesIO(b"version 1"),
        "set": {1, 2},
        f"of rank {session.rank}": {"tensor": coded(session.rank, (256,), version=1), "number": 5},
    }


def _mutate(session: Session, state: dict[str, Any]) -> None:
    own = state[f"of rank {session.rank}"]
    own["tensor"].fill_(-7)
    own["number"] = -7
    state["list"][:] = [-7]
    state["blob"].seek(0)
    state["blob"].write(b"VERSION 2")
    state["set"].clear()
    state["new"] = -7
