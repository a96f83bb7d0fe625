"""Values of one size that differ in one place, which what compares a part of them takes for equal."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness.states.values import pattern

# Elements of each tensor: 256 KiB, more than a writer looks at that compares beginnings and ends.
LENGTH = 64 * 1024


def alike() -> torch.Tensor:
    """Make the tensor (LENGTH,) of int32 from which the others differ."""
    return pattern("alike", (LENGTH,), torch.int32)


def change(tensor: torch.Tensor, place: int) -> None:
    """Change one element, as a data loader or a C extension does: torch does not count a new version of the tensor."""
    view = tensor.numpy()
    view[place] = ~view[place]


def text(place: int) -> str:
    """Make a text of LENGTH letters, the one at `place` another."""
    return "a" * place + "b" + "a" * (LENGTH - place - 1)


def changed(tensor: torch.Tensor, changes: int, *, objects: bool) -> dict[str, Any]:
    """Make a state of `tensor` itself, changed once more, and of an object of the same size whatever the change."""
    place = LENGTH // 2 + changes
    change(tensor, place)
    return {"tensor": tensor, **({"text": text(place)} if objects else {})}
