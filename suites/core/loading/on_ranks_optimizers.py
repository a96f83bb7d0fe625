"""Optimizers that are saved by the state-dict helpers, and restored by them into fresh ones that never made a step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.session import Session, into_subject

SAVED, FRESH = 0.1, 0.2


def through_helpers(session: Session, kind: str, flat: bool) -> list[Difference]:
    """Save an optimizer of one kind by the helpers, load it for a fresh one, and compare their own state dicts.

    kind: one of the words in `_made`. flat: with flatten_optimizer_state_dict.
    """
    if kind != "stateless":
        session.needs("objects")  # settings are
    get, put = session.tool("get_optimizer_state_dict"), session.tool("set_optimizer_state_dict")
    checkpoint_id, options = session.new_id(), StateDictOptions(flatten_optimizer_state_dict=flat)
    model, optimizer = _made(kind, rate=SAVED)
    _train(model, optimizer)
    _used(kind, model, optimizer)
    session.save({"optimizer": into_subject(get, model, optimizer, options=options)}, checkpoint_id)
    fresh, restored = _made(kind, rate=FRESH)
    if kind == "frozen":
        _freeze(fresh)
    target = into_subject(get, fresh, restored, options=options)
    session.load({"optimizer": target}, checkpoint_id)
    into_subject(put, fresh, restored, optim_state_dict=target, options=options)
    return _differences(optimizer.state_dict(), restored.state_dict())


def _made(kind: str, *, rate: float) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Make a model of two layers with an optimizer; those of another rate differ in all their settings."""
    model: Any = torch.nn.Sequential(_layer(3, 2), _layer(2, 2))
    with torch.no_grad():
        for key, parameter in enumerate(model.parameters()):
            parameter.copy_(coded(key, tuple(parameter.shape), version=0) / 2**30)
    if kind == "stateless":
        return model, torch.optim.SGD(model.parameters(), lr=rate, weight_decay=rate / 2)
    if kind == "momentum":
        return model, torch.optim.SGD(model.parameters(), lr=rate, momentum=rate)
    if kind == "groups":
        first = {"params": model[0].parameters(), "lr": 2 * rate, "weight_decay": rate}
        second = {"params": model[1].parameters(), "betas": (rate, 0.99)}
        return model, torch.optim.AdamW([first, second], lr=rate)
    return model, torch.optim.Adam(model.parameters(), lr=rate)


def _layer(inner: int, outer: int) -> Any:
    return torch.nn.utils.skip_init(  # type: ignore[no-untyped-call]
        torch.nn.Linear, inner, outer, dtype=torch.float64
    )


def _train(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(2):
        model(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def _used(kind: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Do what comes between two steps of training: a part is frozen, or a schedule has changed the rate."""
    if kind == "frozen":
        _freeze(model)
    if kind == "scheduled":
        torch.optim.lr_scheduler.StepLR(optimizer, 1).step()


def _freeze(model: torch.nn.Module) -> None:
    next(iter(model.parameters())).requires_grad_(False)


def _differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[Difference]:
    unlike = differences(_with_tensors(wanted), _with_tensors(found), key="state")
    for number, (saved, restored) in enumerate(zip(wanted["param_groups"], found["param_groups"], strict=True)):
        unlike += _settings(f"group {number}", saved, restored, {*saved, *restored} - {"params"})
    return unlike


def _with_tensors(state: dict[str, Any]) -> dict[Any, Any]:
    """Return the state of parameters that have any: an entry which holds nothing is no other state than none."""
    of_tensors = {
        place: {name: item for name, item in entry.items() if item is not None}
        for place, entry in state["state"].items()
    }
    return {place: entry for place, entry in of_tensors.items() if entry}


def _settings(group: str, saved: dict[str, Any], restored: dict[str, Any], names: Iterable[str]) -> list[Difference]:
    return [
        Difference(f"{group}.{name}", (), repr(saved.get(name, "nothing")), repr(restored.get(name, "nothing")))
        for name in sorted(names)
        if saved.get(name, "nothing") != restored.get(name, "nothing")
    ]
