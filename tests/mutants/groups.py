"""Bugs in who takes part: ranks of the wrong group, a role taken from the wrong number, a timeout of one's own."""

from __future__ import annotations

import datetime
import functools
from typing import Any
from unittest import mock

import torch.distributed as dist

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.reference_impl import CheckpointException
from dcp_conformance.reference_impl.ranks.crew import Crew
from tests.mutants.making import engine, storage


def _group(kwargs: dict[str, Any]) -> Any:
    return kwargs.get("process_group")


@functools.wraps(reference_impl.save)
def _last_coordinates(state_dict: Any, **kwargs: Any) -> Any:
    form = Crew.form

    def formed(group: Any, *, no_dist: bool, coordinator: int = 0) -> Crew:
        crew = form(group, no_dist=no_dist)
        return Crew(crew.rank, crew.size, crew.size - 1, crew.group)

    with mock.patch.object(Crew, "form", formed):
        return reference_impl.save(state_dict, **kwargs)


@functools.wraps(reference_impl.save)
def _default_group(state_dict: Any, **kwargs: Any) -> Any:
    return reference_impl.save(state_dict, **{**kwargs, "process_group": None})


@functools.wraps(reference_impl.save)
def _global_names(state_dict: Any, **kwargs: Any) -> Any:
    try:
        return reference_impl.save(state_dict, **kwargs)
    except CheckpointException as error:
        group = _group(kwargs)
        if group is None:
            raise
        raise CheckpointException(
            error.args[0], {dist.get_global_rank(group, rank): failure for rank, failure in error.failures.items()}
        ) from None


@functools.wraps(reference_impl.save)
def _one_at_a_time(state_dict: Any, **kwargs: Any) -> Any:
    # Every save, of whatever group, is numbered and goes below one place: that of global rank 0.
    if _group(kwargs) is not None:
        dist.barrier()
        writer = kwargs["storage_writer"]
        roots: list[Any] = [str(writer._root)]
        dist.broadcast_object_list(roots, src=0)
        writer.reset(roots[0])
    return reference_impl.save(state_dict, **kwargs)


def _first_coordinates(state_dict: Any, storage_writer: Any, **kwargs: Any) -> Any:
    return reference_impl.save_state_dict(state_dict, storage_writer, **{**kwargs, "coordinator_rank": 0})


class _LocalWrapper:
    """A group wrapper that takes ranks within the group for global ones."""

    def __new__(cls, group: Any, use_dist: bool, coordinator_rank: int) -> Any:
        from torch.distributed.checkpoint.utils import _DistWrapper

        wrapper = _DistWrapper(group, use_dist, coordinator_rank)
        wrapper.gather_object = functools.partial(cls._gather, wrapper)  # type: ignore[method-assign]
        return wrapper

    @staticmethod
    def _gather(wrapper: Any, item: Any) -> Any:
        gathered: list[Any] = [None] * dist.get_world_size(wrapper.group)
        dist.all_gather_object(gathered, item, group=wrapper.group)
        return gathered if dist.get_rank() == wrapper.coordinator_rank else None


class _SharedWriter(control.Writer):
    """Calls every commit the same, whoever saves alone."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **{**kwargs, "use_collectives": True})


@functools.wraps(reference_impl.load)
def _as_much_as_there_is(state_dict: Any, **kwargs: Any) -> Any:
    try:
        return reference_impl.load(state_dict, **kwargs)
    except CheckpointException:
        return None


@functools.wraps(reference_impl.save)
def _meets_the_others(state_dict: Any, **kwargs: Any) -> Any:
    if dist.is_initialized() and kwargs.get("no_dist"):
        dist.barrier(dist.new_group(timeout=datetime.timedelta(seconds=3)))
    return reference_impl.save(state_dict, **kwargs)


class _GlobalWriter(control.Writer):
    """Only global rank 0 may commit, whoever is the coordinator."""

    def finish(self, metadata: Any, results: Any) -> None:
        if not dist.is_initialized() or dist.get_rank() == 0:
            super().finish(metadata, results)


@functools.wraps(reference_impl.save)
def _impatient(state_dict: Any, **kwargs: Any) -> Any:
    gather = dist.gather_object

    def gather_soon(item: Any, *args: Any, group: Any = None, **rest: Any) -> Any:
        work = dist.barrier(group=group, async_op=True)
        work.wait(datetime.timedelta(seconds=4))
        return gather(item, *args, **{**rest, "group": group})

    with mock.patch.object(dist, "gather_object", gather_soon):
        return reference_impl.save(state_dict, **kwargs)


coordinates_from_the_last_rank = engine(breaks=["PG-01"], save=_last_coordinates)
uses_the_default_group = engine(breaks=["PG-02"], save=_default_group)
names_failures_by_global_rank = engine(breaks=["PG-03"], save=_global_names)
serves_one_group_at_a_time = engine(breaks=["PG-04"], save=_one_at_a_time)
ignores_the_named_coordinator = engine(
    breaks=["PG-06"], offers=("drop_in",),
    utilities={"save_state_dict": _first_coordinates, "load_state_dict": reference_impl.load_state_dict},
)  # fmt: skip
wraps_groups_with_local_ranks = engine(breaks=["PG-07"], offers=("drop_in",), utilities={"_DistWrapper": _LocalWrapper})
keeps_one_file_for_independent_ranks = storage(breaks=["PG-08", "PG-09"], writer=_SharedWriter)
fills_what_independent_ranks_have = engine(breaks=["PG-11"], load=_as_much_as_there_is)
meets_the_others_without_dist = engine(breaks=["PG-12"], save=_meets_the_others)
takes_its_role_from_the_global_rank = storage(breaks=["PG-13"], writer=_GlobalWriter)
has_a_timeout_of_its_own = engine(breaks=["PG-14"], save=_impatient)
