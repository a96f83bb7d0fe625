"""Bugs with a piece that one rank plans twice: save returns, and something is lost."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch.distributed.checkpoint.planner import WriteItem

from dcp_conformance import reference_impl
from tests.mutants.making import engine


class _Planner(reference_impl.DefaultSavePlanner):
    """The reference's planner over plans that were thinned out first."""

    def create_global_plan(self, all_plans: Any) -> Any:
        return super().create_global_plan([dataclasses.replace(p, items=self.kept(p.items)) for p in all_plans])

    def kept(self, items: list[WriteItem]) -> list[WriteItem]:
        raise NotImplementedError


class _Dropping(_Planner):
    """Takes a piece that is there twice for one that another rank writes."""

    def kept(self, items: list[WriteItem]) -> list[WriteItem]:
        seen = Counter(item.index for item in items)
        return [item for item in items if seen[item.index] == 1]


class _Thinning(_Planner):
    """Leaves out each piece that overlaps an earlier one, and does not look at what is then missing."""

    def create_global_plan(self, all_plans: Any) -> Any:
        self.allow_incomplete = True
        return super().create_global_plan(all_plans)

    def kept(self, items: list[WriteItem]) -> list[WriteItem]:
        kept: list[WriteItem] = []
        for item in items:
            if not any(_overlap(item, other) for other in kept):
                kept.append(item)
        return kept


def _overlap(one: WriteItem, other: WriteItem) -> bool:
    if one.index.fqn != other.index.fqn or one.tensor_data is None or other.tensor_data is None:
        return one.index.fqn == other.index.fqn
    boxes = [item.tensor_data.chunk for item in (one, other) if item.tensor_data is not None]
    edges = zip(boxes[0].offsets, boxes[0].sizes, boxes[1].offsets, boxes[1].sizes, strict=True)
    return all(a < b + n and b < a + m for a, m, b, n in edges)


def _planned_by(kind: type[_Planner]) -> Any:
    """The reference's save with planners made of `kind`: what the caller's planner does is done over it."""

    @functools.wraps(reference_impl.save)
    def save(state_dict: Any, *, planner: Any = None, **kwargs: Any) -> Any:
        return reference_impl.save(state_dict, planner=kind() if planner is None else planner, **kwargs)

    return save


def _engine(kind: type[_Planner], *, breaks: Sequence[str]) -> Any:
    return engine(breaks=breaks, save=_planned_by(kind), utilities={"DefaultSavePlanner": kind})


drops_what_is_planned_twice = _engine(_Dropping, breaks=["PLAN-14"])
keeps_the_first_of_overlapping_pieces = _engine(_Thinning, breaks=["PLAN-14"])
