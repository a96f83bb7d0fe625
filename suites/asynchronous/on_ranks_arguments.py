"""Every argument of async_save is given in turn, in a thread and in a process, as `save` is given it elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.distributed.checkpoint import DefaultSavePlanner

from dcp_conformance.harness.faults.stagers import futures
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject import engine_calls
from dcp_conformance.harness.subject.looking import uses_storage
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.asynchronous.alike import Honoured
from dcp_conformance.suites.asynchronous.on_ranks_processes import PATIENCE, reachable

# How long a group waits for a rank that never comes.
GROUP_TIMEOUT = 6.0


class Prefixing(DefaultSavePlanner):
    """Saves everything under other names. In a module, so that it gets into other processes."""

    def set_up_planner(self, state_dict: Any, *args: Any, **kwargs: Any) -> None:
        """See torch's planner."""
        super().set_up_planner({f"renamed-{key}": value for key, value in state_dict.items()}, *args, **kwargs)


@reachable()
def argument_honoured(session: Session, kind: str, argument: str) -> Honoured | None:
    """Save once with this argument; None on ranks that have no part in it. kind: "THREAD" or "PROCESS"."""
    if engine_calls.checkpointer(session, kind) is None:
        session.excuse(f"the engine's async_save knows no {kind}")
    if not session.takes("async_save", argument):
        session.excuse(f"the engine's async_save takes no {argument}")
    ways = {"planner": _with_planner, "process_group": _with_group, "no_dist": _alone, "checkpoint_id": _with_id}
    return ways[argument](session, kind, argument)


def _with_planner(session: Session, kind: str, argument: str) -> Honoured:
    renamed = {f"renamed-{key}": value for key, value in _state(session).items()}
    return _honoured(session, kind, argument, renamed, planner=Prefixing())


def _with_group(session: Session, kind: str, argument: str) -> Honoured | None:
    """Save on the last rank in a group of its own; no other rank does anything."""
    last = session.world_size - 1
    group = session.new_group(GROUP_TIMEOUT, [last])
    if session.rank != last:
        return None
    return _honoured(session, kind, argument, _state(session), process_group=group)


def _alone(session: Session, kind: str, argument: str) -> Honoured | None:
    """Save on the last rank by itself; no other rank does anything."""
    if session.rank != session.world_size - 1:
        return None
    return _honoured(session, kind, argument, _state(session), no_dist=True)


def _with_id(session: Session, kind: str, argument: str) -> Honoured:
    """Save through a writer that was made for another id than the call is given."""
    if not uses_storage(session, "async_save"):
        session.excuse("the engine takes no writer that could have been made for another id")
    writer = session.writer(session.new_id(f"{kind}-elsewhere"))
    return _honoured(session, kind, argument, _state(session), writer=writer, style="passed")


def _honoured(session: Session, kind: str, argument: str, wanted: dict[str, Any], **given: Any) -> Honoured:
    checkpoint_id = session.new_id(f"{kind}-{argument}")
    way = engine_calls.checkpointer(session, kind)

    def save() -> None:
        response = session.async_save(_state(session), checkpoint_id, async_checkpointer_type=way, **given)
        into_subject(futures(response)[1].result, PATIENCE)

    ended = session.attempt(save)
    alone = argument in ("process_group", "no_dist")
    return Honoured(
        argument=argument, ended=ended, found=_loaded(session, checkpoint_id, wanted, alone) if ended.ok else []
    )


def _loaded(session: Session, checkpoint_id: Any, wanted: dict[str, Any], alone: bool) -> list[Difference]:
    target = blank(wanted)
    session.load(target, checkpoint_id, **({"no_dist": True} if alone else {}))
    return differences(wanted, target)


def _state(session: Session) -> dict[str, Any]:
    return {f"own{session.rank}": coded(session.rank, (50,), version=1), "common": coded(99, (8,), version=1)}


def many_alike(session: Session, stager: bool, saves: int) -> list[list[Difference]]:
    """Save values that a copy may take for one another, again and again with other values, by one stager.

    Tensors of one size and dtype, views of one address and size, a list of equals, and empty ones.
    """
    own = session.stager() if stager else None
    if stager and own is None:
        session.excuse("the engine has no stager that a caller could make")
    found = []
    for version in range(1, saves + 1):
        wanted, checkpoint_id = _alike(session, version), session.new_id(f"alike{version}")
        expected: dict[str, Any] = _each(wanted, lambda tensor: tensor.clone())
        _staged, uploaded = futures(session.async_save(wanted, checkpoint_id, async_stager=own))
        into_subject(uploaded.result, PATIENCE)
        target = blank(expected)
        session.load(target, checkpoint_id)
        found.append(differences(expected, target))
    if own is not None:
        own.close()
    return found


def _alike(session: Session, version: int) -> dict[str, Any]:
    base = 16 * session.rank
    state: dict[str, Any] = {f"own{session.rank}": {
        f"t{number}": coded(base + number, (4, 4), version=version) for number in range(5)
    }}  # fmt: skip
    square = coded(200, (6, 6), version=version)
    state |= {"square": square, "rows": [coded(210 + row, (3,), version=version) for row in range(3)]}
    state |= {"upper": square[:3], "lower": square[3:], "none": square[:0], "flat": square.reshape(36)}
    if "layouts" not in session.storage.unsupported:
        state["turned"] = square.t()
    return state


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: _each(item, change) for key, item in value.items()}
    return [_each(item, change) for item in value] if isinstance(value, list) else change(value)
