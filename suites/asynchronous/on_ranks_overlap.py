"""Two saves at a time whose ranks are out of step, and saves under way when the program ends."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.stagers import futures
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.program import run_program
from dcp_conformance.harness.subject.session import Session, into_subject

PATIENCE = 10.0
SKEW = 0.7
# A program that imports torch, saves and ends.
PROGRAM_LIMIT = 60.0


def two_saves_out_of_step(
    session: Session, phase: str, style: str
) -> list[tuple[Attempt, list[Difference], Attempt | None]]:
    """Make two overlapping saves, the first held up in a phase on rank 1 and the second on rank 0.

    For each: how it ended on this rank (a refused call counts as that), what differs after a load of its id where it
    ended well on this rank, and how that load ended.
    """
    ids = [session.new_id(f"save{number}") for number in range(2)]
    uploads: list[Any] = []
    for number, held_up in enumerate((1, 0)):
        slow = Fault(phase=phase, ranks=(held_up,), kind="delay", seconds=SKEW)
        try:
            uploads.append(session.async_save(_state(session, number), ids[number], faults=(slow,), style=style))
        except BaseException as error:  # the second call may be refused
            uploads.append(error)
    ended = [session.attempt(_finish, upload) for upload in uploads]
    observed = []
    for number, attempt in enumerate(ended):
        wanted = _state(session, number)
        target = blank(wanted)
        loaded = session.attempt(session.load, target, ids[number], no_dist=True) if attempt.ok else None
        observed.append((attempt, differences(wanted, target) if attempt.ok else [], loaded))
    return observed


def _finish(upload: Any) -> None:
    if isinstance(upload, BaseException):
        raise upload
    into_subject(futures(upload)[1].result, PATIENCE)


def end_right_after_saving(session: Session) -> tuple[int | None, str, Attempt, list[Difference], bool]:
    """Run a program that ends right after async_save, and report what a load of the id gives then.

    Returns its exit code, its output, how the load ended, what it gave otherwise, and whether another of the program's
    saves was made to fail.
    """
    session.needs("async_save")
    code, output = run_program(
        session, "dcp_conformance.suites.asynchronous.on_ranks_overlap:save_and_end", limit=PROGRAM_LIMIT
    )
    wanted = _alone()
    target = blank(wanted)
    loaded = session.attempt(session.load, target, session.new_id("sound"))
    return code, output, loaded, differences(wanted, target), session.drives_storage


def save_and_end(session: Session) -> None:
    """In a program of its own: a slow save that goes well and one that fails, and nobody waits for either.

    Where the engine has a store of its own, neither can be arranged: the one save is as slow as it is.
    """
    if not session.drives_storage:
        session.async_save(_alone(), session.new_id("sound"))
        return
    slow = Fault(phase="write_data", ranks=(0,), kind="delay", seconds=SKEW)
    session.async_save(_alone(), session.new_id("sound"), faults=(slow,))
    session.async_save(_alone(), session.new_id("failing"), faults=(Fault(phase="write_data", ranks=(0,)),))


def _alone() -> dict[str, Any]:
    return {"t": coded(1, (1000,), version=1)}


def _state(session: Session, number: int) -> dict[str, Any]:
    own = coded(session.rank, (40,), version=number + 1)
    return {f"own{session.rank} of save {number}": own, "common": coded(99, (8,), version=number + 1)}
