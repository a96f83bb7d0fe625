"""Save while work is queued, and change tensors while a save may still read them."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.stagers import futures
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.subject.session import TORCH, Session, into_subject
from dcp_conformance.suites.accelerator.on_devices import blank_on, moved, pinned_bytes, queue_values, seen, state, wait
from dcp_conformance.suites.accelerator.seen import Seen

#: Seconds by which the storage is late: a save that reads values late reads changed ones.
SLOW = 0.3
ALL = tuple(range(64))
#: use_pinned_memory, use_shared_memory, use_async_staging, use_non_blocking_copy.
STAGERS = {
    "pinned": (True, False, False, False),
    "pinned_without_blocking": (True, False, False, True),
    "pinned_in_a_thread": (True, False, True, True),
    "shared": (False, True, False, False),
}


def save_queued_values(session: Session, stream: str) -> Seen:
    """Queue the computation of what is in the state, and save at once; stream: see `stage_queued_values`."""
    values, device, checkpoint_id = state(session), session.device, session.new_id()
    source, given = moved(values, device), blank_on(values, device)
    with torch.Stream(device=device) if stream == "side" else contextlib.nullcontext():
        queue_values(given, source, device)
        session.save(given, checkpoint_id)
    return _loaded(session, values, checkpoint_id)


def stage_queued_values(session: Session, stager: str, stream: str) -> Seen:
    """As `save_queued_values`, through async_save and the stager of that name, or `none`.

    stream: `default`, or `side`: the caller works on a stream of its own.
    """
    values, device, checkpoint_id = state(session), session.device, session.new_id()
    source, given, own = moved(values, device), blank_on(values, device), _stager(session, stager)
    with torch.Stream(device=device) if stream == "side" else contextlib.nullcontext():
        queue_values(given, source, device)
        _finish(*futures(session.async_save(given, checkpoint_id, async_stager=own)))
    if own is not None:
        own.close()
    return _loaded(session, values, checkpoint_id)


def change_on_another_stream(session: Session, stager: str) -> Seen:
    """Change every tensor on a side stream as soon as staging is complete, while the storage is still slow."""
    values, device, checkpoint_id = state(session), session.device, session.new_id()
    given, own, side = moved(values, device), _stager(session, stager), torch.Stream(device=device)
    slow = Fault(phase="write_data", ranks=ALL, kind="delay", seconds=SLOW)
    faults = {"faults": (slow,)} if session.drives_storage else {}
    staged, uploaded = futures(session.async_save(given, checkpoint_id, async_stager=own, **faults))
    if staged is not None:
        into_subject(staged.result, 60)
    with side:
        for tensor in given.values():
            tensor.fill_(-7)
    wait()
    into_subject(uploaded.result, 60)
    if own is not None:
        own.close()
    return _loaded(session, values, checkpoint_id)


def pinned_after_saves(session: Session) -> tuple[int, int, int]:
    """Return the bytes that are pinned after the second and after the fifth save, and of a state.

    Each save has a stager of its own that pins; an engine without one that a caller could make stages by itself.
    """
    values, held = state(session), []
    for number in range(5):
        given, own = moved(values, session.device), _stager(session, "pinned" if _has_stager(session) else "none")
        _finish(*futures(session.async_save(given, session.new_id(f"save-{number}"), async_stager=own)))
        if own is not None:
            own.close()
        del given, own
        held.append(pinned_bytes(session))
    return held[1], held[4], sum(value.nbytes for value in values.values())


def group_without_cpu(session: Session) -> Any:
    """Report how an async_save in a process group that has no CPU backend ends."""
    kind = torch.device(session.device).type
    own = torch.distributed.Backend.default_device_backend_map.get(kind)
    if own is None:
        session.give_up(f"torch knows no process group for {kind} alone")
    group = torch.distributed.new_group(backend=f"{kind}:{own}")
    ended = session.attempt(
        session.async_save, moved(state(session), session.device), session.new_id(), process_group=group
    )
    torch.distributed.destroy_process_group(group)
    return ended


def _loaded(session: Session, values: dict[str, torch.Tensor], checkpoint_id: Any) -> Seen:
    target = blank_on(values, "cpu")
    session.load(target, checkpoint_id)
    return seen(session, differences(values, target))


def _finish(staged: Any, uploaded: Any) -> None:
    if staged is not None:
        into_subject(staged.result, 60)
    into_subject(uploaded.result, 60)


def _stager(session: Session, name: str) -> Any:
    """Return the engine's stager with the options of that name; None for `none`."""
    if name == "none":
        return None
    utilities = session.engine.utilities
    if not _has_stager(session):
        session.excuse("the engine has no stager that a caller could make")
    from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

    options = utilities.get("StagingOptions", StagingOptions)(*STAGERS[name])
    return into_subject(utilities.get("DefaultStager", DefaultStager), options)


def _has_stager(session: Session) -> bool:
    return "DefaultStager" in session.engine.utilities or session.spec.engine == TORCH
