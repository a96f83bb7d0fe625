"""Bugs in global planning: duplicates, balance, hints, what ranks agree on. Some show only at 3 or 4 ranks."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar
from unittest import mock

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import DefaultSavePlanner as TorchSavePlanner
from torch.distributed.checkpoint import SavePlan

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.reference_impl import DefaultLoadPlanner, DefaultSavePlanner
from tests.mutants.making import engine, storage


def planned(*, breaks: Sequence[str], save: Any = None, load: Any = None, **fields: Any) -> Any:
    """The reference engine with another default planner for save or load."""
    calls = {}
    if save is not None:
        calls["save"] = defaulted(reference_impl.save, save)
    if load is not None:
        calls["load"] = defaulted(reference_impl.load, load)
    return engine(breaks=breaks, **calls, **fields)


def defaulted(call: Callable[..., Any], planner: Callable[[], Any]) -> Callable[..., Any]:
    """An engine call that uses `planner()` where it is given none."""

    @functools.wraps(call)
    def with_planner(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("planner") is None:
            kwargs["planner"] = planner()
        return call(*args, **kwargs)

    return with_planner


def given_twice(plans: list[Any], all_plans: list[Any], wanted: Callable[[Any, list[int]], bool]) -> list[Any]:
    """`plans` with items put back on every rank that holds them, where `wanted(item, holders)`."""
    holders: dict[Any, list[int]] = {}
    for rank, plan in enumerate(all_plans):
        for item in plan.items:
            holders.setdefault(item.index, []).append(rank)
    final = {item.index: item for plan in plans for item in plan.items}
    again = {index for index, ranks in holders.items() if wanted(final[index], ranks)}
    return [
        replace(
            plan,
            items=[
                *plan.items,
                *(final[i.index] for i in given.items if i.index in again and final[i.index] not in plan.items),
            ],
        )
        for plan, given in zip(plans, all_plans, strict=True)
    ]


class _Neighbours(DefaultSavePlanner):
    """Compares each plan with the one before it only: what ranks 0 and 2 hold and rank 1 does not is written twice."""

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        plans, metadata = super().create_global_plan(all_plans)
        return given_twice(plans, all_plans, lambda _item, ranks: len(ranks) == 2 and ranks[1] - ranks[0] > 1), metadata


class _ThreeLetters(DefaultSavePlanner):
    """Recognises duplicates by a short hash of the name: with three ranks two names collide, and one is dropped."""

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        plans, metadata = super().create_global_plan(all_plans)
        seen = {(item.index.fqn[:3], item.index.offset) for item in plans[0].items}
        kept = [
            plan
            if rank < 2
            else replace(plan, items=[i for i in plan.items if (i.index.fqn[:3], i.index.offset) not in seen])
            for rank, plan in enumerate(plans)
        ]
        return kept, metadata


class _IgnoresLowest(DefaultSavePlanner):
    """Takes the option and does nothing with it."""

    def __init__(self, *args: Any, dedup_save_to_lowest_rank: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class _InTurn(DefaultSavePlanner):
    """Starts to give out duplicates where the last save stopped."""

    _turn = itertools.count()

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        turn = next(self._turn)
        order = [(place + turn) % len(all_plans) for place in range(len(all_plans))]
        plans, metadata = super().create_global_plan([all_plans[rank] for rank in order])
        back = dict(zip(order, plans, strict=True))
        return [back[rank] for rank in range(len(plans))], metadata


class _WholeTensors(DefaultSavePlanner):
    """Balances by the size of the whole tensor, as torch does."""

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        def whole(item: Any) -> int:
            return 1 if item.tensor_data is None else 8 * int(torch.tensor(item.tensor_data.size).prod())

        with mock.patch("dcp_conformance.reference_impl.values.dedup.written_bytes", whole):
            return super().create_global_plan(all_plans)


class _FromOne(DefaultSavePlanner):
    """Numbers the chunks of a tensor from 1."""

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        plans, metadata = super().create_global_plan(all_plans)
        moved = [
            replace(
                plan,
                items=[
                    i if i.index.index is None else replace(i, index=replace(i.index, index=i.index.index + 1))
                    for i in plan.items
                ],
            )
            for plan in plans
        ]
        return moved, metadata


class _TrustsChunks(DefaultSavePlanner):
    """Leaves it to the ranks to cut tensors correctly."""

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        with (
            mock.patch(
                "dcp_conformance.reference_impl.planners.plan_save.coverage_errors", lambda *_args, **_kwargs: []
            ),
            mock.patch("dcp_conformance.reference_impl.planners.plan_save.agreement_errors", lambda *_args: []),
        ):
            return super().create_global_plan(all_plans)


class _FirstKind(DefaultSavePlanner):
    """Settles a dispute over a name by keeping what came first: an object loses to a tensor without a word."""

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        kinds: dict[str, bool] = {}
        for plan in all_plans:
            for item in plan.items:
                kinds.setdefault(item.index.fqn, item.tensor_data is None)
        return super().create_global_plan(
            [
                replace(plan, items=[i for i in plan.items if kinds[i.index.fqn] == (i.tensor_data is None)])
                for plan in all_plans
            ]
        )


class _FirstShape(DefaultSavePlanner):
    """Keeps the first of two plain tensors of one name, whatever the shape and dtype of the other."""

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        first = {item.index: item for plan in reversed(all_plans) for item in plan.items}
        return super().create_global_plan(
            [replace(plan, items=[first[i.index] for i in plan.items]) for plan in all_plans]
        )


@functools.wraps(reference_impl.save)
def _prepares_everywhere(state: Any, **kwargs: Any) -> Any:
    """Lets every rank prepare, to be ready to take over from the coordinator."""
    if dist.is_initialized() and dist.get_rank() and kwargs.get("storage_writer") is not None:
        kwargs["storage_writer"].prepare_global_plan([SavePlan([])])
    return reference_impl.save(state, **kwargs)


class _ExchangingWriter(control.Writer):
    """Hands the plans of the ranks after the first out in the wrong order, which two ranks cannot show."""

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        prepared = super().prepare_global_plan(plans)
        return [prepared[0], *reversed(prepared[1:])]


class _ForgetsPaths(DefaultSavePlanner):
    """Merges the paths of the first two ranks."""

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        plans, metadata = super().create_global_plan(all_plans)
        late = {item.index.fqn for plan in all_plans[2:] for item in plan.items}
        known = {item.index.fqn for plan in all_plans[:2] for item in plan.items}
        paths = {key: path for key, path in (metadata.planner_data or {}).items() if key not in late - known}
        return plans, replace(metadata, planner_data=paths)


class _CachingPlanner(DefaultSavePlanner):
    """Sends a plan once for each list of names and shapes, and keeps what came of it."""

    _sent: ClassVar[dict[str, Any]] = {}
    _kept: ClassVar[dict[str, Any]] = {}

    def create_local_plan(self) -> SavePlan:
        plan, kind = super().create_local_plan(), type(self).__name__
        looks = [(item.index, item.tensor_data and item.tensor_data.size) for item in plan.items]
        known, self._sent[kind] = self._sent.get(kind), looks
        return replace(plan, items=[]) if self.enable_plan_caching and known == looks else plan

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        kind = type(self).__name__
        if any(plan.items for plan in all_plans) or not self.enable_plan_caching:
            self._kept[kind] = super().create_global_plan(all_plans)
        return self._kept[kind]


@functools.wraps(reference_impl.save)
def _default_planners_only(state: Any, **kwargs: Any) -> Any:
    """Knows its own planners and those of torch, and nothing that is derived from them."""
    planner = kwargs.get("planner")
    if planner is not None and type(planner) not in (DefaultSavePlanner, TorchSavePlanner):
        raise TypeError(f"unknown planner {type(planner).__name__}")
    return reference_impl.save(state, **kwargs)


class _FunctionWriter(control.Writer):
    """Keeps a function in the plan, which a single rank never sends anywhere."""

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        alone = not (dist.is_initialized() and dist.get_world_size() > 1)
        return replace(plan, storage_data=lambda: None) if alone else plan


_BOTH = {"DefaultLoadPlanner": DefaultLoadPlanner}

dedups_neighbours_only = planned(breaks=["GLOB-01"], save=_Neighbours)
dedups_by_three_letters = planned(breaks=["GLOB-02"], save=_ThreeLetters)
ignores_the_lowest_rank = planned(
    breaks=["GLOB-03"], offers=("drop_in",), utilities={**_BOTH, "DefaultSavePlanner": _IgnoresLowest}
)
gives_all_to_the_lowest_rank = planned(
    breaks=["GLOB-04"], save=lambda: DefaultSavePlanner(dedup_save_to_lowest_rank=True)
)
picks_owners_in_turn = planned(breaks=["GLOB-05"], save=_InTurn)
weighs_whole_tensors = planned(breaks=["GLOB-06"], save=_WholeTensors)
counts_hints_from_one = planned(breaks=["GLOB-07"], save=_FromOne)
trusts_chunks = planned(breaks=["GLOB-08", "GLOB-09", "GLOB-19"], save=_TrustsChunks)
keeps_the_first_kind = planned(breaks=["GLOB-10"], save=_FirstKind)
keeps_the_first_shape = planned(breaks=["GLOB-11"], save=_FirstShape)
prepares_on_every_rank = engine(breaks=["GLOB-12"], save=_prepares_everywhere)
exchanges_plans_of_three_ranks = storage(breaks=["GLOB-12"], writer=_ExchangingWriter)
forgets_paths_of_rank_2 = planned(breaks=["GLOB-13"], save=_ForgetsPaths)
caches_plans_by_shape = planned(
    breaks=["GLOB-14", "GLOB-15", "GLOB-16"],
    utilities={"DefaultSavePlanner": _CachingPlanner, "DefaultLoadPlanner": DefaultLoadPlanner},
)
takes_default_planners_only = engine(breaks=["GLOB-17"], save=_default_planners_only)
plans_hold_a_function = storage(breaks=["GLOB-18"], writer=_FunctionWriter)
