"""Torch's HuggingFace pair without its defects: objects are refused, every tensor is copied, every chunk is kept."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch.distributed.checkpoint import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.planner import WriteItemType
from torch.futures import Future

from harness import control
from harness.backend import Backend


class _Copying:
    """A planner whose tensors are dense and share their memory with nobody."""

    def __init__(self, planner: Any) -> None:
        self._planner = planner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._planner, name)

    def resolve_data(self, item: Any) -> Any:
        return self._planner.resolve_data(item).detach().cpu().contiguous().clone()


class Writer(HuggingFaceStorageWriter):
    """A file holds a name once, so the second chunk of a tensor goes to a further file."""

    def write_data(self, plan: Any, planner: Any) -> Future[list[Any]]:
        objects = [item.index.fqn for item in plan.items if item.type is WriteItemType.BYTE_IO]
        if objects:
            raise ValueError(f"HuggingFace files hold tensors only, and {objects[0]!r} is none")
        results: list[Any] = []
        for number, items in enumerate(_once_each(plan.items)):
            told = dict(plan.storage_data)
            if number:
                told["shard_index"] = told["shard_index"] + 1000 * number
            part = dataclasses.replace(plan, items=items, storage_data=told)
            results += super().write_data(part, _Copying(planner)).wait()
        done: Future[list[Any]] = Future()
        done.set_result(results)
        return done


def _once_each(items: list[Any]) -> list[list[Any]]:
    rounds: list[dict[str, Any]] = [{}]
    for item in items:
        free = next((part for part in rounds if item.index.fqn not in part), None)
        if free is None:
            rounds.append(free := {})
        free[item.index.fqn] = item
    return [list(part.values()) for part in rounds]


huggingface = Backend(
    name="huggingface",
    writer=control.Writer,
    reader=control.Reader,
    unsupported=control.UNSUPPORTED,
    utilities={"HuggingFaceStorageWriter": Writer, "HuggingFaceStorageReader": HuggingFaceStorageReader},
)
