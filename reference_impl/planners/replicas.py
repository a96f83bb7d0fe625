"""Whether values that several ranks hold are the same on all of them.

Writing replicated tensors is shared out among the ranks. Where the replicas differ, although they should not, that
would store a state that no rank ever had. So each rank signs its plan with a digest of every whole tensor in it, and
the coordinator compares them. The digests travel in the planner data of the plans and never reach the metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from dcp_conformance.reference_impl.interchange import SavePlan, WriteItem
from dcp_conformance.reference_impl.ranks.crew import current_crew
from dcp_conformance.reference_impl.values.boxes import volume
from dcp_conformance.reference_impl.values.dedup import is_whole
from dcp_conformance.reference_impl.values.memory import digest
from dcp_conformance.reference_impl.values.shards import find_part

logger = logging.getLogger("reference_impl")

#: Where the digests stand in the planner data of a plan.
_DIGESTS = "\0reference_impl.digests"


def signed(plan: SavePlan, state_dict: Mapping[str, Any]) -> SavePlan:
    """Return the plan with a digest of each whole tensor, where other ranks may hold it too."""
    crew = current_crew()
    # A digest reads every byte, and alone there is nobody to compare it with.
    if crew is None or crew.size == 1:
        return plan
    digests = {
        item.index.fqn: digest(find_part(state_dict[item.index.fqn], item.index))
        for item in plan.items
        if _is_replica(item, state_dict.get(item.index.fqn))
    }
    # In the planner data, which travels with the plan anyway: no further collective is needed.
    return replace(plan, planner_data={**(plan.planner_data or {}), _DIGESTS: digests}) if digests else plan


def compared(plans: list[SavePlan]) -> tuple[bool, list[SavePlan]]:
    """Tell whether any replicas differ, and take the digests out of the plans."""
    seen: dict[str, int] = {}
    differ: set[str] = set()
    for plan in plans:
        for name, found in _digests(plan).items():
            if seen.setdefault(name, found) != found:
                differ.add(name)
    if differ:
        logger.warning("ranks hold different values under %s: the lowest rank's are stored", sorted(differ))
    return bool(differ), [_without_digests(plan) for plan in plans]


def _digests(plan: SavePlan) -> dict[str, int]:
    found: dict[str, int] = plan.planner_data.get(_DIGESTS, {}) if isinstance(plan.planner_data, dict) else {}
    return found


def _without_digests(plan: SavePlan) -> SavePlan:
    if not _digests(plan):
        return plan
    rest = {name: path for name, path in plan.planner_data.items() if name != _DIGESTS}
    return replace(plan, planner_data=rest or None)


def _is_replica(item: WriteItem, value: Any) -> bool:
    """Tell whether an item is a whole tensor that the planner may give to another rank.

    It never gives single numbers away.
    """
    if item.tensor_data is None or volume(item.tensor_data.size) <= 1 or not is_whole(item):
        return False
    return isinstance(value, DTensor) or (
        isinstance(value, torch.Tensor) and not hasattr(type(value), "__create_write_items__")
    )
