"""Bugs of an async_save that takes less than save does, or copies less than it was given."""

from __future__ import annotations

import functools
from typing import Any

import torch

from dcp_conformance import reference_impl
from tests.mutants.making import engine


@functools.wraps(reference_impl.async_save)
def _no_planner(state_dict: Any, **kwargs: Any) -> Any:
    """Makes its planner where it runs, in the background."""
    return reference_impl.async_save(state_dict, **{**kwargs, "planner": None})


@functools.wraps(reference_impl.async_save)
def _everybody(state_dict: Any, **kwargs: Any) -> Any:
    """Has a group of its own, which is as good."""
    return reference_impl.async_save(state_dict, **{**kwargs, "process_group": None, "no_dist": False})


class _Copier:
    """Copies tensors into memory that `key` chooses."""

    should_synchronize_after_execute = False

    def __init__(self, key: Any) -> None:
        self._key, self._memory = key, {}  # type: Any, dict[Any, torch.Tensor]

    def stage(self, state_dict: Any) -> Any:
        return self._copied(state_dict)

    def _copied(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._copied(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._copied(item) for item in value]
        if type(value) is not torch.Tensor:
            return value
        return self._memory.setdefault(self._key(value), torch.empty_like(value)).copy_(value)

    def synchronize_staging(self) -> None:
        """It is done."""

    def close(self) -> None:
        """Nothing is held."""


def _staged_by(key: Any) -> Any:
    @functools.wraps(reference_impl.async_save)
    def async_save(state_dict: Any, **kwargs: Any) -> Any:
        return reference_impl.async_save(state_dict, **{**kwargs, "async_stager": _Copier(key)})

    return async_save


forgets_the_planner_in_the_background = engine(breaks=["ASYNC-28"], async_save=_no_planner)
saves_with_everybody_in_the_background = engine(breaks=["ASYNC-28"], async_save=_everybody)
stages_equal_shapes_into_one_buffer = engine(
    breaks=["ASYNC-27"], async_save=_staged_by(lambda tensor: (tensor.shape, tensor.dtype))
)
stages_each_address_once = engine(
    breaks=["ASYNC-27"],
    async_save=_staged_by(lambda tensor: (tensor.data_ptr(), tensor.shape, tensor.dtype)),
)
