"""Bugs in how a load treats what the caller holds: other objects, wrong order, too early, too often."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.distributed.checkpoint import state_dict as helpers

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend
from tests.mutants.making import Tap, engine, storage
from tests.mutants.partial import loading


class _Copying(reference_impl.DefaultLoadPlanner):
    """Loads into fresh tensors and puts them in the place of the caller's."""

    def finish_plan(self, central_plan: Any) -> Any:
        for item in central_plan.items:
            value = self.state_dict.get(item.dest_index.fqn)
            if isinstance(value, torch.Tensor) and hasattr(value, "clone"):
                self._put(item.dest_index.fqn, value.detach().clone())
        return super().finish_plan(central_plan)


def _load_rebuilt(state_dict: Any, **options: Any) -> None:
    def rebuilt(value: Any) -> Any:
        return {key: rebuilt(item) for key, item in value.items()} if isinstance(value, dict) else value

    fresh = {key: rebuilt(value) for key, value in state_dict.items()}
    reference_impl.load(fresh, **options)
    for key, value in fresh.items():
        state_dict[key] = value


def _load_copy(state_dict: Any, **options: Any) -> None:
    reference_impl.load(dict(state_dict), **options)


def _stateful(value: Any) -> bool:
    return hasattr(value, "load_state_dict") and hasattr(value, "state_dict")


def _load_assigning(state_dict: Any, **options: Any) -> None:
    reference_impl.load(state_dict, **options)
    for key, value in list(state_dict.items()):
        if _stateful(value):
            state_dict[key] = value.state_dict()


def _load_twice(state_dict: Any, **options: Any) -> None:
    reference_impl.load(state_dict, **options)
    for value in list(state_dict.values()):
        if _stateful(value):
            value.load_state_dict(value.state_dict())


def _load_one_by_one(state_dict: Any, **options: Any) -> None:
    """Each Stateful object in a load of its own, all others afterwards."""
    for key in [key for key, value in state_dict.items() if _stateful(value)]:
        reference_impl.load({key: state_dict[key]}, **options)
    rest = {key: value for key, value in state_dict.items() if not _stateful(value)}
    reference_impl.load(rest, **options)
    state_dict.update(rest)


class _Whole:
    """An object with its state, taken for one value."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _wrapped(state: Any, *, top: bool = True) -> Any:
    if isinstance(state, dict):
        return {
            key: _wrapped(item, top=False) if not (top and _stateful(item)) else item for key, item in state.items()
        }
    if isinstance(state, list):
        return [_wrapped(item, top=False) for item in state]
    return _Whole(state) if _stateful(state) else state


def _unwrapped(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _unwrapped(item) for key, item in state.items()}
    if isinstance(state, list):
        return [_unwrapped(item) for item in state]
    return state.value if isinstance(state, _Whole) else state


def _holds_nested(state: Any) -> bool:
    return any(
        isinstance(value, dict | list) and "_Whole" in repr(_wrapped(value, top=False)) for value in state.values()
    )


def _save_whole(state_dict: Any, **options: Any) -> Any:
    return reference_impl.save(_wrapped(state_dict) if _holds_nested(state_dict) else state_dict, **options)


def _load_whole(state_dict: Any, **options: Any) -> None:
    wrapped = _wrapped(state_dict) if _holds_nested(state_dict) else state_dict
    reference_impl.load(wrapped, **options)
    if wrapped is not state_dict:
        state_dict.update(_unwrapped(wrapped))


def _load_handing_anyway(state_dict: Any, **options: Any) -> None:
    try:
        reference_impl.load(state_dict, **options)
    except BaseException:
        for value in state_dict.values():
            if _stateful(value):
                value.load_state_dict(value.state_dict())
        raise


def _load_in_order(order: Callable[[Any], list[Any]], *, careful: bool) -> Callable[..., None]:
    """An engine that unwraps and hands back by itself, in an order of its own."""

    def load(state_dict: Any, **options: Any) -> None:
        keys = order(state_dict)
        plain = {}
        for key in keys:
            if key in state_dict:
                value = state_dict[key]
                plain[key] = value.state_dict() if _stateful(value) else value
        reference_impl.load(plain, **options)
        for key in keys:
            if key not in state_dict and careful:
                continue
            if _stateful(state_dict[key]):
                state_dict[key].load_state_dict(plain[key])
            else:
                state_dict[key] = plain[key]

    return load


def _load_clearing_gradients(state_dict: Any, **options: Any) -> None:
    reference_impl.load(state_dict, **options)
    for value in state_dict.values():
        if isinstance(value, torch.nn.Module):
            value.zero_grad()


def _load_untying(state_dict: Any, **options: Any) -> None:
    """Gives every parameter of a model memory of its own."""
    reference_impl.load(state_dict, **options)
    for value in state_dict.values():
        for module in value.modules() if isinstance(value, torch.nn.Module) else ():
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, name, torch.nn.Parameter(parameter.detach().clone(), parameter.requires_grad))


def _set_state_only(model: Any, optimizers: Any, *, optim_state_dict: Any, **options: Any) -> Any:
    rates = [group["lr"] for group in optimizers.param_groups]
    helpers.set_optimizer_state_dict(model, optimizers, optim_state_dict=optim_state_dict, **options)
    for group, rate in zip(optimizers.param_groups, rates, strict=True):
        group["lr"] = rate


def _set_first_group_only(model: Any, optimizers: Any, *, optim_state_dict: Any, **options: Any) -> Any:
    rates = [group["lr"] for group in optimizers.param_groups[1:]]
    helpers.set_optimizer_state_dict(model, optimizers, optim_state_dict=optim_state_dict, **options)
    for group, rate in zip(optimizers.param_groups[1:], rates, strict=True):
        group["lr"] = rate


def _set_what_has_state(model: Any, optimizers: Any, *, optim_state_dict: Any, **options: Any) -> Any:
    if not isinstance(optimizers, torch.optim.SGD) or optimizers.param_groups[0]["momentum"]:
        helpers.set_optimizer_state_dict(model, optimizers, optim_state_dict=optim_state_dict, **options)


_BEGUN: set[tuple[str, str]] = set()


class _ResumingReader(control.Reader):
    """Remembers which items a failed load had begun, so that the next one need not read them again."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        begun = {(os.fspath(self._root), item.dest_index.fqn): item for item in plan.items}
        plan.items = [item for key, item in begun.items() if key not in _BEGUN]
        noting: Any = _Noting(planner, os.fspath(self._root))
        future = super().read_data(plan, noting)
        _BEGUN.difference_update(begun)
        return future


class _Noting(Tap):
    """A planner that notes for which items it was asked for a target."""

    def __init__(self, planner: Any, root: str) -> None:
        super().__init__(planner)
        self._root = root

    def resolve_tensor(self, item: Any) -> Any:
        _BEGUN.add((self._root, item.dest_index.fqn))
        return self._inner.resolve_tensor(item)


def _load_with(load: Callable[..., None], *, breaks: Sequence[str]) -> Backend:
    return engine(breaks=breaks, load=load)


loads_into_copies = loading(_Copying, breaks=["INPL-01", "INPL-15", "INPL-16"])
rebuilds_mappings = _load_with(_load_rebuilt, breaks=["INPL-02"])
leaves_loaded_objects_in_a_copy = _load_with(_load_copy, breaks=["INPL-04"])
assigns_over_stateful = _load_with(_load_assigning, breaks=["INPL-04"])
hands_state_twice = _load_with(_load_twice, breaks=["INPL-05"])
hands_state_first = _load_with(_load_one_by_one, breaks=["INPL-05"])
pickles_nested_stateful = engine(breaks=["INPL-06"], save=_save_whole, load=_load_whole)
hands_state_after_failed_read = _load_with(_load_handing_anyway, breaks=["INPL-09"])
asks_in_order_of_insertion = _load_with(_load_in_order(list, careful=True), breaks=["INPL-10"])
stumbles_over_removed_entries = _load_with(
    _load_in_order(lambda state: sorted(state, key=str), careful=False), breaks=["INPL-13"]
)
clears_gradients = _load_with(_load_clearing_gradients, breaks=["INPL-14"])
unties_weights = _load_with(_load_untying, breaks=["INPL-15"])
forgets_optimizer_settings = storage(
    breaks=["INPL-12"],
    utilities={
        "get_optimizer_state_dict": helpers.get_optimizer_state_dict,
        "set_optimizer_state_dict": _set_state_only,
    },
)
resumes_behind_the_failure = storage(breaks=["INPL-17"], reader=_ResumingReader)
restores_the_first_group_only = storage(
    breaks=["INPL-12"], utilities={"set_optimizer_state_dict": _set_first_group_only}
)
passes_over_optimizers_without_state = storage(
    breaks=["INPL-12"], utilities={"set_optimizer_state_dict": _set_what_has_state}
)
