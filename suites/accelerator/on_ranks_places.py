"""Save and load across devices, and see where everything is afterwards."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.accelerator.on_devices import blank_on, devices, kind, misplaced, moved, seen, state, wait
from dcp_conformance.suites.accelerator.seen import Seen


def from_one_place_to_another(session: Session, start: str, end: str) -> Seen:
    """Save tensors that lie at `start`, load into targets at `end`; each `cpu`, `own` or `next`: another device."""
    values, checkpoint_id = state(session), session.new_id()
    session.save(moved(values, _place(session, start)), checkpoint_id)
    where = _place(session, end)
    target = blank_on(values, where)
    given = dict(target)
    session.load(target, checkpoint_id)
    wait()
    replaced = tuple(f"the target {key!r} holds other values than the state" for key in _unlike(given, target))
    return seen(session, differences(values, target), misplaced(target, dict.fromkeys(values, where)) + replaced)


def mixed_places(session: Session) -> Seen:
    """A state with CPU tensors, pinned ones and tensors on a device, loaded into one of the same kinds."""
    values, device = state(session), torch.device(kind(session), torch.accelerator.device_count() - 1)
    order = ("cpu", "pinned", "device")

    def laid(source: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {key: _laid(value, order[place % 3], device) for place, (key, value) in enumerate(source.items())}

    checkpoint_id, given, target = session.new_id(), laid(values), laid(blank_on(values, "cpu"))
    wait()
    session.save(given, checkpoint_id)
    session.load(target, checkpoint_id)
    wait()
    pinned = tuple(
        f"{key!r} is not pinned any more"
        for key, value in given.items()
        if value.is_pinned() and not target[key].is_pinned()
    )
    places = misplaced(target, {key: value.device for key, value in given.items()})
    return seen(session, differences(values, target), places + pinned)


def chosen_device_and_stream(session: Session, call: str) -> Seen:
    """Call from a device that is not the first, on a stream that is not the default one; see what is current then."""
    if call == "async_save":
        session.needs("async_save")
    chosen = devices(session, 2)[-1]
    before = torch.accelerator.current_device_index()
    torch.accelerator.set_device_index(chosen.index)
    try:
        return _on_stream(session, call, chosen)
    finally:
        torch.accelerator.set_device_index(before)


def _on_stream(session: Session, call: str, chosen: torch.device) -> Seen:
    values, checkpoint_id, stream = state(session), session.new_id(), torch.Stream(device=chosen)
    given, target = moved(values, chosen), blank_on(values, chosen)
    with stream:
        if call == "async_save":
            response: Any = session.async_save(given, checkpoint_id)
            getattr(response, "upload_completion", response).result(60)
        else:
            session.save(given, checkpoint_id)
        if call == "load":
            session.load(target, checkpoint_id)
        index, current = torch.accelerator.current_device_index(), torch.accelerator.current_stream()
    if call != "load":
        session.load(target, checkpoint_id)
    wait()
    places = misplaced(target, dict.fromkeys(values, chosen))
    if index != chosen.index:
        places += (f"after {call} the current device is {kind(session)}:{index} instead of {chosen}",)
    if current != stream:
        places += (f"after {call} the current stream is {current} instead of {stream}",)
    return seen(session, differences(values, target), places)


def _place(session: Session, name: str) -> torch.device:
    if name == "next":
        there = devices(session, 2)
        return there[(torch.device(session.device).index + 1) % len(there)]
    return torch.device("cpu" if name == "cpu" else session.device)


def _laid(value: torch.Tensor, place: str, device: torch.device) -> torch.Tensor:
    if place == "pinned":
        return value.clone().pin_memory() if value.numel() else value.clone()
    return value.to(device if place == "device" else "cpu", copy=True)


def _unlike(given: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> list[str]:
    """Keys of targets that were replaced in the state, and do not hold what was loaded."""
    return [key for key, tensor in given.items() if differences(target[key].cpu(), tensor)]
