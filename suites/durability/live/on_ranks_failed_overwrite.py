"""A second save to an id that holds a checkpoint: interrupted somewhere, or completed with less in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dcp_conformance.harness.faults.fault import PLANNER_PHASES, Fault
from dcp_conformance.harness.faults.planner import faulty_planner
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.equal import equal_state
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session

OLD, NEW = 1, 2


def interrupted_overwrite(session: Session, fault: Fault, shared: bool = False) -> Attempt | str:
    """Report how a second save ended during which a rank met the fault. shared: most values are those of the first.

    A sentence where such a thing may not be staged.
    """
    if "crash_safe_overwrite" in session.storage.unsupported:
        return session.storage.unsupported["crash_safe_overwrite"]
    session.save(_saved(session, [session.rank], OLD, shared), session.new_id())
    return _faulted(session, fault, shared)


def interrupted_save(session: Session, fault: Fault) -> Attempt:
    """Report how a save to a fresh id ended during which a rank met the fault."""
    return _faulted(session, fault, False)


def what_loads(session: Session, ranks: int, versions: tuple[int, ...], shared: bool = False) -> dict[str, Any]:
    """Load everything. Reports how that ended, and for each version the first way in which it is not that one."""
    states = {version: _saved(session, range(ranks), version, shared) for version in versions}
    target = blank(states[versions[0]])
    attempt = session.attempt(session.load, target, session.new_id())
    found = {version: differences(state, target, limit=1) for version, state in states.items()}
    return {"attempt": attempt, "unlike": {version: [d.sentence() for d in found[version]] for version in versions}}


def completed_overwrite(session: Session, how: str) -> None:
    """Two saves to one id by the ranks that take part; `how`: one of LESSER."""
    session.save(state_of(session.rank, OLD), session.new_id())
    if how == "fewer_ranks":
        session.save({} if session.rank else state_of(0, NEW), session.new_id())
    else:
        session.save(LESSER[how](session.rank), session.new_id())


def load_after(session: Session, ranks: int, how: str) -> dict[str, Any]:
    """Loads of what the second save stored, and of a key that only the first one did."""
    wanted = _merged(range(1 if how == "fewer_ranks" else ranks), LESSER[how])
    target = blank(wanted)
    session.load(target, session.new_id())
    old = _whole(ranks, OLD)
    gone = next((key for key in sorted(old) if key not in wanted), None)
    mixed = None
    if gone is not None:
        mixed = session.attempt(session.load, blank({**wanted, gone: old[gone]}), session.new_id())
    return {"differences": differences(wanted, target), "gone": gone, "mixed": mixed}


def state_of(rank: int, version: int) -> dict[str, Any]:
    """Report what a rank saves: two tensors of its own, and one that all ranks have."""
    return {
        f"own{rank}": coded(10 + rank, (600,), version=version),
        f"more{rank}": coded(20 + rank, (600,), version=version),
        "common": coded(1, (50,), version=version),
    }


def _smaller(rank: int) -> dict[str, Any]:
    return {key: item[:7].clone() for key, item in state_of(rank, NEW).items()}


def _larger(rank: int) -> dict[str, Any]:
    return {key: item.repeat(3) for key, item in state_of(rank, NEW).items()}


def _fewer_keys(rank: int) -> dict[str, Any]:
    return {key: item for key, item in state_of(rank, NEW).items() if not key.startswith("own")}


def _one_rank(rank: int) -> dict[str, Any]:
    return state_of(rank, NEW)


LESSER: dict[str, Callable[[int], dict[str, Any]]] = {
    "fewer_ranks": _one_rank,
    "fewer_keys": _fewer_keys,
    "smaller_tensors": _smaller,
    "larger_tensors": _larger,
}


def _whole(ranks: int, version: int) -> dict[str, Any]:
    return _merged(range(ranks), lambda rank: state_of(rank, version))


def _merged(ranks: Iterable[int], of: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    return {key: item for rank in ranks for key, item in of(rank).items()}


def _saved(session: Session, ranks: Iterable[int], version: int, shared: bool) -> dict[str, Any]:
    if shared:
        return equal_state(ranks, version, objects="objects" not in session.storage.unsupported)
    return _merged(ranks, lambda rank: state_of(rank, version))


def _faulted(session: Session, fault: Fault, shared: bool) -> Attempt:
    writer, state = session.writer(session.new_id(), faults=(fault,)), _saved(session, [session.rank], NEW, shared)
    if fault.phase in PLANNER_PHASES:
        writer = interpose(writer, ("write_data",), _FaultyPlans(session.rank, fault))
    return session.attempt(session.save, state, session.new_id(), writer=writer)


class _FaultyPlans:
    """Gives the storage a planner that meets the fault: between two items, whosever planner it is."""

    def __init__(self, rank: int, fault: Fault) -> None:
        self.rank, self.fault = rank, fault

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def faulty(planner: Any) -> Any:
            return faulty_planner(planner, rank=self.rank, faults=(self.fault,))

        if "planner" in kwargs:
            kwargs = {**kwargs, "planner": faulty(kwargs["planner"])}
        else:
            args = (args[0], faulty(args[1]), *args[2:])
        return inner(*args, **kwargs)
