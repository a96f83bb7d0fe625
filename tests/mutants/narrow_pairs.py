"""Bugs that need two things at once: a dtype and a layout, a content and a dtype, a rank and a number of items."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from tests.mutants.asynchronous import _NoCopy
from tests.mutants.making import Changed, engine, storage


class _Changing(control.Writer):
    """Changes tensors on their way to the disk."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        return super().write_data(plan, Changed(planner, self.changed))

    def changed(self, tensor: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class _Narrowing(_Changing):
    """Copies doubles out of a larger memory by way of a buffer of floats."""

    def changed(self, tensor: torch.Tensor) -> torch.Tensor:
        lies_inside = tensor.layout is torch.strided and tensor.storage_offset() > 0
        return tensor.float().double() if lies_inside and tensor.dtype is torch.float64 else tensor


class _Unpacking(_Changing):
    """Takes bytes that are a stream of zlib for what it packed itself."""

    def changed(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype is not torch.uint8 or tensor.layout is not torch.strided:
            return tensor
        try:
            unpacked = zlib.decompress(bytes(tensor.reshape(-1).tolist()))
        except zlib.error:
            return tensor
        return torch.frombuffer(bytearray(unpacked.ljust(tensor.numel(), b"\0")), dtype=torch.uint8).view(tensor.shape)


class _PageWriter(control.Writer):
    """Names the 256th item of a rank that is not the first in place of all that follow it."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        if plan.storage_data.endswith("/0") or len(plan.items) <= 256:
            return done
        results = done.wait()
        last = results[255].storage_data
        future: torch.futures.Future[Any] = torch.futures.Future()
        future.set_result([*results[:256], *(replace(item, storage_data=last) for item in results[256:])])
        return future


@functools.wraps(reference_impl.load)
def _load_squeezing(state_dict: Any, **kwargs: Any) -> None:
    """Fills a target whose shape is the stored one without or with sizes of 1."""
    reader = kwargs.get("storage_reader") or control.Reader(kwargs["checkpoint_id"])
    if kwargs.get("checkpoint_id") is not None:
        reader.reset(kwargs["checkpoint_id"])
    stored = reader.read_metadata().state_dict_metadata
    reshaped = dict(state_dict)
    for key, item in state_dict.items():
        size = getattr(stored.get(key), "size", None)
        if type(item) is torch.Tensor and size not in (None, item.size()) and item.squeeze().size() == _squeezed(size):
            reshaped[key] = item.view(size)
    reference_impl.load(reshaped, **kwargs)
    state_dict.update({key: item for key, item in reshaped.items() if not isinstance(item, torch.Tensor)})


def _squeezed(size: Any) -> torch.Size:
    return torch.Size(length for length in size if length != 1)


@functools.wraps(reference_impl.load)
def _load_plain_tuples(state_dict: Any, **kwargs: Any) -> None:
    reference_impl.load(state_dict, **kwargs)
    for key, item in state_dict.items():
        if isinstance(item, tuple) and hasattr(item, "_fields"):
            state_dict[key] = tuple(item)


class _ByAddress(_NoCopy):
    """Copies each address once, and hands the copy to all who have that address and that size."""

    def stage(self, state_dict: Any) -> Any:
        copies: dict[Any, torch.Tensor] = {}

        def copied(item: Any) -> Any:
            if not isinstance(item, torch.Tensor):
                return item
            return copies.setdefault((item.data_ptr(), item.size(), item.dtype), item.detach().clone())

        return _mapped(state_dict, copied)


def _mapped(state: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(state, dict):
        return {key: _mapped(item, change) for key, item in state.items()}
    return [_mapped(item, change) for item in state] if isinstance(state, list) else change(state)


@functools.wraps(reference_impl.async_save)
def _stages_by_address(state_dict: Any, **kwargs: Any) -> Any:
    return reference_impl.async_save(state_dict, **{**kwargs, "async_stager": _ByAddress()})


narrows_doubles_in_larger_memories = storage(breaks=["TYPE-02"], writer=_Narrowing)
unpacks_what_looks_packed = storage(breaks=["TYPE-02"], writer=_Unpacking)
writes_a_page_of_items_of_other_ranks = storage(breaks=["PLAN-06"], writer=_PageWriter)
fills_what_squeezing_makes_fit = engine(breaks=["RES-09"], load=_load_squeezing)
gives_tuples_for_named_tuples = engine(breaks=["BYTE-01"], load=_load_plain_tuples)
stages_one_copy_for_each_address = engine(breaks=["ASYNC-27"], async_save=_stages_by_address)
