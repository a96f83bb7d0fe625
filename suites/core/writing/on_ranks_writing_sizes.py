"""Saves whose numbers of items, or whose sizes, lie at the borders of what a writer might do in batches or blocks."""

from __future__ import annotations

import time
from typing import Any

import torch

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject.session import Session

# Exact multiples of the usual sizes of a batch or a queue, and one item more.
COUNTS = (1, 2, 3, 5, 10, 11, 16, 17, 33, 64, 65, 101)
# And of larger ones: of tensors alone, so that the number of items is exactly this.
LARGER = (127, 128, 129, 257)
# A store that takes its time for each item meets fewer of the larger ones; seconds.
LONG = 8.0
KIB = 1024
# Bytes that a writer might copy at once, and multiples of them.
BLOCKS = (4 * KIB, 16 * KIB, 64 * KIB, KIB * KIB)
# The parts in which clients of object stores send and fetch: what they may take at least, and what they take unasked.
PARTS = (5 * KIB * KIB, 8 * KIB * KIB, 16 * KIB * KIB)


def any_number_of_items(session: Session) -> list[Difference]:
    """Save and load states of so many tensors, and as many objects, each; the first differences."""
    began = time.monotonic()
    for count in (*COUNTS, *LARGER):
        if count in LARGER and time.monotonic() - began > LONG:
            break
        checkpoint_id = session.new_id(f"of{count}")
        state: dict[str, Any] = {f"item{number}": coded(number, (3,), version=count) for number in range(count)}
        if "objects" not in session.storage.unsupported and count in COUNTS:
            state |= {f"object{number}": f"{number} of {count}" for number in range(count)}
        target = blank(state)
        session.save(state, checkpoint_id)
        session.load(target, checkpoint_id)
        found = differences(state, target)
        if found:
            return found
    return []


def dense_at_borders(session: Session) -> list[Difference]:
    """Contiguous tensors that fill so many bytes, exactly and with one element less or more."""
    state: dict[str, torch.Tensor] = {}
    for block in (*BLOCKS, *PARTS):
        # Of whole parts, the exact ones alone: they are what takes time, and a border of theirs is one of blocks too.
        for beside in (-1, 0, 1) if block in BLOCKS else (0,):
            name = f"{block // KIB} KiB{beside:+d}"
            state[name] = pattern(name, (block // 4 + beside,), torch.int32)
    checkpoint_id, target = session.new_id(), blank(state)
    session.save(state, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(state, target)


def layouts_at_borders(session: Session) -> list[Difference]:
    """Tensors that are not contiguous and fill so many bytes: exactly, or with one element or row more or less."""
    tensors: dict[str, torch.Tensor] = {}
    for block in BLOCKS:
        for beside in (-1, 0, 1):
            count, rows = block // 4 + beside, block // 128 + beside
            name = f"{block // KIB} KiB{beside:+d}"
            tensors[f"{name} strided"] = pattern(name, (2 * count,), torch.float32)[::2]
            tensors[f"{name} transposed"] = pattern(name, (rows, 32), torch.float32).t()
    wanted = {name: tensor.contiguous() for name, tensor in tensors.items()}
    checkpoint_id, target = session.new_id(), blank(wanted)
    session.save(tensors, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(wanted, target)
