"""Which rank writes a value that several ranks hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dcp_conformance.reference_impl.interchange import MetadataIndex, SavePlan, WriteItem
from dcp_conformance.reference_impl.values.boxes import volume

#: For each (name, offset) the ranks that hold it, ascending, with their item.
Holders = dict[MetadataIndex, dict[int, WriteItem]]


def written_bytes(item: WriteItem) -> int:
    """Return the bytes that this item will write (its chunk, not the whole tensor).

    Returns 1 for an object, whose size is not known.
    """
    if item.tensor_data is None:
        return 1
    return volume(item.tensor_data.chunk.sizes) * item.tensor_data.properties.dtype.itemsize


def assign_owners(
    plans: list[SavePlan], *, to_lowest_rank: bool = False, replicas_differ: bool = False
) -> list[SavePlan]:
    """Return the plans with every (name, offset) left to exactly one of the ranks that hold it.

    Tensors go, largest first, to the holder with the fewest bytes so far, ties to the lowest rank. Objects and single
    numbers cost nothing to write and go to the lowest rank: where they differ by rank although they should not (seeds,
    counters), the coordinator's is kept. Where whole tensors differ too (``replicas_differ``), all whole values go to
    the lowest rank: a state that some rank had, and no mixture. The result depends on the plans alone.
    """
    holders = _holders(plans)
    owner = _owners(holders, len(plans), lambda item: to_lowest_rank or (replicas_differ and is_whole(item)))
    return [
        replace(plan, items=[i for i in plan.items if owner[i.index] == rank and holders[i.index][rank] is i])
        for rank, plan in enumerate(plans)
    ]


def _holders(plans: list[SavePlan]) -> Holders:
    holders: Holders = {}
    weight: dict[MetadataIndex, int] = {}
    for rank, plan in enumerate(plans):
        for item in plan.items:
            size = written_bytes(item)
            # An empty chunk may start where a full one does; the full one is what has to be written.
            if size > weight.get(item.index, -1):
                weight[item.index], holders[item.index] = size, {rank: item}
            elif size == weight[item.index]:
                holders[item.index].setdefault(rank, item)
    return holders


def _is_single(item: WriteItem) -> bool:
    """Tell whether an item is an object or one number."""
    return item.tensor_data is None or volume(item.tensor_data.chunk.sizes) <= 1


def is_whole(item: WriteItem) -> bool:
    """Tell whether an item stores all of a value: an object, or a tensor that is not split."""
    return item.tensor_data is None or item.tensor_data.chunk.sizes == item.tensor_data.size


def _owners(holders: Holders, ranks: int, to_lowest: Callable[[WriteItem], bool]) -> dict[MetadataIndex, int]:
    load = [0] * ranks
    owner: dict[MetadataIndex, int] = {}
    shared: list[tuple[int, MetadataIndex]] = []
    for index, held in holders.items():
        first, item = next(iter(held.items()))
        if len(held) == 1 or to_lowest(item) or _is_single(item):
            owner[index] = first
            load[first] += written_bytes(item)
        else:
            shared.append((written_bytes(item), index))
    for size, index in sorted(shared, key=lambda entry: -entry[0]):
        rank = min(holders[index], key=lambda rank: (load[rank], rank))
        owner[index] = rank
        load[rank] += size
    return owner
