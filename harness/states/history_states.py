"""The states of histories: each number another state, of which each value says of which number it is."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness.states.values import coded

# Elements; neither sorted, nor of one number of digits, and one of them none at all.
SIZES = (5, 40, 1, 300, 0, 7)
_DTYPES = (torch.float64, torch.int64)


def state_of(version: int, ranks: int, *, plain: bool) -> dict[str, Any]:
    """Return the state number `version` of so many ranks; plain: without objects.

    Keys, sizes, dtypes and lengths change with the number. One tensor is equal in all states, so that a store which
    keeps equal data once keeps it for several checkpoints.
    """
    state: dict[str, Any] = {"equal": torch.full((6,), 7.0), "common": _tensor(90, version, 2)}
    for rank in range(ranks):
        state[f"own{rank}.weight"] = _tensor(2 * rank, version + rank, 1, version=version)
        state[f"own{rank}.of{version % 3}"] = _tensor(2 * rank + 1, version + rank + 1, 1, version=version)
        if not plain:
            state[f"own{rank}.text"] = f"state {version} of rank {rank} " + "x" * SIZES[version % len(SIZES)]
            state[f"own{rank}.step"] = 1000 * version + rank
    return state


def own_part(state: dict[str, Any], rank: int) -> dict[str, Any]:
    """Return what one rank saves of a state: what is its own, and what all have."""
    return {key: value for key, value in state.items() if not key.startswith("own") or key.startswith(f"own{rank}.")}


def _tensor(key: int, size: int, dimensions: int, *, version: int | None = None) -> torch.Tensor:
    number = size if version is None else version
    shape = (SIZES[size % len(SIZES)], *(3,) * (dimensions - 1))
    return coded(key, shape, version=number, dtype=_DTYPES[number % 2])
