"""Bugs around dtypes, layouts, devices and gradients."""

from __future__ import annotations

import functools
import io
import warnings
from typing import Any

import torch
from torch.distributed.checkpoint import (
    BytesStorageMetadata,
    DefaultLoadPlanner,
    DefaultSavePlanner,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadItemType
from torch.distributed.checkpoint.storage import WriteResult
from torch.distributed.tensor import DTensor
from torch.futures import Future

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import read_object, write_object
from tests.mutants.making import Changed, engine, storage


class _OneNan(control.Writer):
    """Writes one NaN for all of them."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(tensor: torch.Tensor) -> torch.Tensor:
            return torch.where(tensor.isnan(), torch.nan, tensor) if tensor.dtype == torch.float64 else tensor

        return super().write_data(plan, Changed(planner, change))


def _lenient_save(state_dict: Any, *, planner: Any = None, **kwargs: Any) -> Any:
    return reference_impl.save(state_dict, planner=planner or DefaultSavePlanner(), **kwargs)


def _lenient_load(state_dict: Any, *, planner: Any = None, **kwargs: Any) -> None:
    reference_impl.load(state_dict, planner=planner or DefaultLoadPlanner(), **kwargs)


class _Silent(reference_impl.DefaultLoadPlanner):
    """Says nothing of what a conversion loses, and puts objects where tensors were asked for."""

    def set_up_planner(self, state_dict: Any, metadata: Any = None, is_coordinator: bool = False) -> None:
        super().set_up_planner(state_dict, metadata, is_coordinator)
        for name in self.state_dict:
            if isinstance(metadata.state_dict_metadata.get(name), BytesStorageMetadata):
                self.state_dict[name] = None

    def create_local_plan(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return super().create_local_plan()


def _silent_load(state_dict: Any, *, planner: Any = None, **kwargs: Any) -> None:
    reference_impl.load(state_dict, planner=planner or _Silent(), **kwargs)


class _PassesOver(reference_impl.DefaultLoadPlanner):
    """Leaves an object of the template as it is where a tensor is stored."""

    def set_up_planner(self, state_dict: Any, metadata: Any = None, is_coordinator: bool = False) -> None:
        stored = metadata.state_dict_metadata
        fits = {
            key: value
            for key, value in state_dict.items()
            if isinstance(value, torch.Tensor) or not isinstance(stored.get(key), TensorStorageMetadata)
        }
        super().set_up_planner(fits, metadata, is_coordinator)


def _passing_load(state_dict: Any, *, planner: Any = None, **kwargs: Any) -> None:
    reference_impl.load(state_dict, planner=planner or _PassesOver(), **kwargs)


class _StaysOnMeta(reference_impl.DefaultLoadPlanner):
    """Fills a tensor of its own where the target has no memory, and forgets to hand it over."""

    def set_up_planner(self, state_dict: Any, *args: Any, **kwargs: Any) -> None:
        self._meta = {key: value for key, value in state_dict.items() if getattr(value, "is_meta", False)}
        self._state = state_dict
        super().set_up_planner(state_dict, *args, **kwargs)

    def finish_plan(self, central_plan: Any) -> Any:
        self._kept = dict(self._meta)
        return super().finish_plan(central_plan)

    def commit_tensor(self, read_item: Any, tensor: torch.Tensor) -> None:
        super().commit_tensor(read_item, tensor)
        self._state.update(self._kept)


def _meta_load(state_dict: Any, *, planner: Any = None, **kwargs: Any) -> None:
    reference_impl.load(state_dict, planner=planner or _StaysOnMeta(), **kwargs)


class _Delivering(control.Reader):
    """A reader that delivers tensors in its own way."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        for request in plan.items:
            content = read_object(self._root, self._names[request.storage_index])
            if request.type is LoadItemType.BYTE_IO:
                planner.load_bytes(request, io.BytesIO(content))
                continue
            stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            for dimension, (offset, length) in enumerate(zip(request.storage_offsets, request.lengths, strict=True)):
                stored = stored.narrow(dimension, offset, length)
            target = planner.resolve_tensor(request)
            if target.size() != stored.size():
                raise ValueError(f"{request.dest_index.fqn}: stored size {stored.size()}, wanted {target.size()}")
            self.deliver(target, stored)
            planner.commit_tensor(request, target)
        done: Future[Any] = Future()
        done.set_result(None)
        return done

    def deliver(self, target: torch.Tensor, stored: torch.Tensor) -> None:
        target.detach().copy_(stored)


class _Replacing(_Delivering):
    """Saves a copy by giving the target the memory that was read."""

    def deliver(self, target: torch.Tensor, stored: torch.Tensor) -> None:
        target.data = stored


class _Detaching(_Delivering):
    """Switches gradients off to write, and not on again."""

    def deliver(self, target: torch.Tensor, stored: torch.Tensor) -> None:
        if target.is_leaf:
            target.requires_grad_(False)
        target.detach().copy_(stored)


class _RowByRow(_Delivering):
    """Copies one row at a time, to bound its memory."""

    def deliver(self, target: torch.Tensor, stored: torch.Tensor) -> None:
        if target.dim() == 0:
            target.detach().copy_(stored)
        for row in range(target.size(0) if target.dim() else 0):
            target.detach()[row].copy_(stored[row])


class _AsTheyAre(control.Writer):
    """Stores a tensor with its class, which only a trusting reader takes back."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        results = []
        for number, item in enumerate(plan.items):
            data, name = planner.resolve_data(item), f"{plan.storage_data}-{number}"
            if isinstance(data, torch.Tensor):
                stream = io.BytesIO()
                torch.save(data.detach().cpu().clone(), stream)
                data = stream
            size = write_object(self._root, name, data.getvalue())
            results.append(WriteResult(index=item.index, size_in_bytes=size, storage_data=name))
        done: Future[Any] = Future()
        done.set_result(results)
        return done


class _DefaultDevice(control.Writer):
    """Copies into a buffer before it writes, and does not say where that buffer is."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(tensor: torch.Tensor) -> torch.Tensor:
            return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())

        return super().write_data(plan, Changed(planner, change))


class _Rounding(control.Writer):
    """Stores scalars in steps of one, of a unit four times too large."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(tensor: torch.Tensor) -> torch.Tensor:
            return (tensor / 4).floor() if tensor.dim() == 0 and tensor.is_floating_point() else tensor

        return super().write_data(plan, Changed(planner, change))


_PLANNERS: dict[str, type[Any]] = {"DefaultSavePlanner": DefaultSavePlanner, "DefaultLoadPlanner": DefaultLoadPlanner}
_META_PLANNERS: dict[str, type[Any]] = {
    "DefaultSavePlanner": reference_impl.DefaultSavePlanner,
    "DefaultLoadPlanner": _StaysOnMeta,
}

has_one_nan = storage(breaks=["TYPE-01"], writer=_OneNan)
has_lenient_planners = engine(
    breaks=["TYPE-07", "TYPE-08"], save=_lenient_save, load=_lenient_load, utilities=_PLANNERS
)
converts_in_silence = engine(breaks=["TYPE-05", "TYPE-19"], load=_silent_load)
passes_over_objects_stored_as_tensors = engine(breaks=["TYPE-03"], load=_passing_load)
replaces_the_memory_of_targets = storage(breaks=["TYPE-06", "TYPE-14"], reader=_Replacing)
stores_subclasses_as_they_are = storage(breaks=["TYPE-09"], writer=_AsTheyAre)
forgets_gradients = storage(breaks=["TYPE-10"], reader=_Detaching)
leaves_meta_tensors = engine(breaks=["TYPE-11"], load=_meta_load, utilities=_META_PLANNERS)
copies_row_by_row = storage(breaks=["TYPE-12"], reader=_RowByRow)
buffers_on_the_default_device = storage(breaks=["TYPE-16"], writer=_DefaultDevice)
rounds_scalars = storage(breaks=["TYPE-18"], writer=_Rounding)


@functools.wraps(reference_impl.load)
def _load_leaving_empty(state_dict: Any, **arguments: Any) -> None:
    """Gives memory to what is read, which is nothing where a rank has no elements."""
    nothing = {
        key: value for key, value in state_dict.items() if isinstance(value, DTensor) and not value.to_local().numel()
    }
    reference_impl.load(state_dict, **arguments)
    state_dict.update(nothing)


leaves_empty_shards_on_meta = engine(breaks=["TYPE-11"], load=_load_leaving_empty)
