"""States of which many entries are equal: with each other, between ranks, and with those of other versions.

A store that keeps equal contents once must know who else needs them before it takes one away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from dcp_conformance.harness.states.values import coded

# The version whose values some entries keep in all others.
FIRST = 1


def equal_state(ranks: Iterable[int], version: int, *, objects: bool) -> dict[str, Any]:
    """Make what these ranks save together: entries that never change, that change, and pairs of which one changes."""
    state: dict[str, Any] = {}
    for rank in ranks:
        state |= _tensors(rank, version)
        if objects:
            state |= _texts(rank, version)
    return state


def _tensors(rank: int, version: int) -> dict[str, torch.Tensor]:
    made = {
        # First what no other rank has: nobody else puts it back.
        f"own{rank}": coded(100 + rank, (30,), version=0),
        f"same{rank}.a": coded(7, (40,), version=0),
        f"same{rank}.b": coded(7, (40,), version=0),
        f"step{rank}": coded(200 + rank, (20,), version=version),
        # Equal in the first version; then one of them moves on, in one pair the first, in the other the second.
        f"former{rank}.a": coded(8, (25,), version=version),
        f"former{rank}.b": coded(8, (25,), version=FIRST),
        f"latter{rank}.a": coded(9, (25,), version=FIRST),
        f"latter{rank}.b": coded(9, (25,), version=version),
    }
    # In every other version there is a third of one kind, and then it is gone.
    return made | ({f"now_and_then{rank}": coded(7, (40,), version=0)} if version % 2 else {})


def _texts(rank: int, version: int) -> dict[str, str]:
    always, now = "the same in all versions " * 4, f"as it is in version {version} " * 4
    first = now.replace(str(version), str(FIRST))
    return {
        f"text{rank}.a": always, f"text{rank}.b": always, f"remark{rank}": now,
        f"note{rank}.a": now, f"note{rank}.b": first, f"word{rank}.a": first, f"word{rank}.b": now,
    }  # fmt: skip
