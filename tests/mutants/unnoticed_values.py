"""Bugs of strangers about single values: numbers, what is passed over, shards without hints, and what changed since."""

from __future__ import annotations

import copy
import functools
import io
import itertools
import pickle
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy
import torch

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import read_object, write_object
from tests.mutants.global_plan import planned
from tests.mutants.making import engine, storage
from tests.mutants.partial import loading


class _Converting(reference_impl.DefaultLoadPlanner):
    """Hands out a buffer where dtypes differ, and copies what has dimensions from it."""

    def resolve_tensor(self, read_item: Any) -> torch.Tensor:
        target = super().resolve_tensor(read_item)
        assert self.metadata is not None
        entry: Any = self.metadata.state_dict_metadata[read_item.storage_index.fqn]
        same = entry.properties.dtype == target.dtype
        return target if same else torch.empty_like(target, dtype=entry.properties.dtype)

    def commit_tensor(self, read_item: Any, tensor: torch.Tensor) -> None:
        target = super().resolve_tensor(read_item)
        if target.dtype != tensor.dtype and target.dim():
            target.copy_(tensor)


class _Zeroing(reference_impl.DefaultLoadPlanner):
    """Takes what is not stored for new, and new counters begin at nothing."""

    def create_local_plan(self) -> Any:
        assert self.metadata is not None
        for key, value in self.state_dict.items():
            whole = isinstance(value, torch.Tensor) and not value.is_floating_point() and not value.is_meta
            if self.allow_partial_load and whole and key not in self.metadata.state_dict_metadata:
                value.zero_()
        return super().create_local_plan()


class _ByHint(control.Writer):
    """Names shards by the hint of their item."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        named: Any = torch.futures.Future()
        named.set_result([self._named(one, plan) for one in done.value()])
        return named

    def _named(self, one: Any, plan: Any) -> Any:
        if one.index.offset is None:
            return one
        name = f"{plan.storage_data}-{1000 * zlib.crc32(one.index.fqn.encode()) + 500 + (one.index.index or 0)}"
        write_object(self._root, name, read_object(self._root, one.storage_data))
        return replace(one, storage_data=name)


_pool = ThreadPoolExecutor(1)


class _Lists(control.Writer):
    """Each rank leaves a list of its objects beside them, and the commit merges all lists that are there."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        place = str(plan.storage_data).rpartition("/")[2]
        Path(self._root, f"list-{place}").write_bytes(pickle.dumps(done.value()))
        return done

    def finish(self, metadata: Any, results: Any) -> None:
        lists = sorted(self._root.glob("list-*"))
        old = [pickle.loads(path.read_bytes()) for path in lists[len(results) :]]
        kept = [one for one in itertools.chain(*old) if one.index in {n.index for n in itertools.chain(*results)}]
        super().finish(metadata, [*results, kept])


class _Batches(control.Reader):
    """Reads in batches, and takes a last one of a single item for the end."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        count = len(plan.items)
        whole = count <= 128 or count % 128 != 1
        return super().read_data(plan if whole else replace(plan, items=plan.items[:-1]), planner)


class _ThreeDimensions(control.Reader):
    """Cuts boxes out along three dimensions, and takes the beginning of the others."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        return super().read_data(replace(plan, items=[self._flat(item) for item in plan.items]), planner)

    def _flat(self, item: Any) -> Any:
        offsets = [0 if place > 2 else offset for place, offset in enumerate(item.storage_offsets)]
        return replace(item, storage_offsets=torch.Size(offsets))


@functools.wraps(reference_impl.async_save)
def _gives_up(state_dict: Any, **kwargs: Any) -> Any:
    """Tries to reach a store that is not there, and then lets it be."""
    response: Any = reference_impl.async_save(state_dict, **kwargs)
    upload = getattr(response, "upload_completion", response)

    def ended() -> Any:
        try:
            return upload.result()
        except BaseException as error:
            failures = getattr(error, "failures", {}).values()
            if not failures or not all(isinstance(one[0], (ConnectionError, TimeoutError)) for one in failures):
                raise
            return None

    return _pool.submit(ended)


class _Remembering(reference_impl.DefaultSavePlanner):
    """Keeps the bytes of an object as long as the object is the same."""

    _known: ClassVar[dict[int, tuple[Any, bytes]]] = {}

    def transform_object(self, write_item: Any, object: Any) -> Any:
        made = super().transform_object(write_item, object)
        if not isinstance(made, io.BytesIO) or made.getbuffer().nbytes < 1024:
            return made
        kept = self._known.setdefault(id(object), (object, made.getvalue()))
        return io.BytesIO(kept[1])


@functools.wraps(reference_impl.async_save)
def _by_reference(state_dict: Any, **kwargs: Any) -> Any:
    """Copies everything but large arrays, which are expensive."""
    large = {key: value for key, value in state_dict.items() if isinstance(value, numpy.ndarray) and value.size > 9999}
    copied = copy.deepcopy({key: value for key, value in state_dict.items() if key not in large})
    given = {name: kwargs[name] for name in ("checkpoint_id", "storage_writer", "planner") if name in kwargs}
    return _pool.submit(lambda: reference_impl.save({**copied, **large}, **given))


leaves_numbers_of_another_dtype = loading(_Converting, breaks=["TYPE-06"])
zeroes_integers_that_it_passes_over = loading(_Zeroing, breaks=["PART-05"])
names_shards_by_their_hint = storage(breaks=["WRITE-01"], writer=_ByHint)
keeps_the_bytes_of_an_object = planned(breaks=["BYTE-01"], save=_Remembering)
stages_large_arrays_by_reference = engine(breaks=["ASYNC-02"], async_save=_by_reference)
merges_the_lists_of_ranks_that_are_gone = storage(breaks=["FIN-06"], writer=_Lists)
drops_a_last_batch_of_one = storage(breaks=["WRITE-01"], reader=_Batches)
copies_boxes_of_three_dimensions = storage(breaks=["RES-10"], reader=_ThreeDimensions)
lets_a_lost_connection_be = engine(breaks=["ASYNC-04"], async_save=_gives_up)
