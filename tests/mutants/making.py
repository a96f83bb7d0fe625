"""What mutants are made of: the control pair, torch's pair, and an engine that is sound but for its one bug."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.planner import WriteItemType

from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend

_WhatItWraps: Any = object


class Tap(_WhatItWraps):  # type: ignore[misc]
    """A planner, reader or writer between two parties: what it does not define is the wrapped one's own."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Changed(Tap):
    """A planner whose tensors are changed on their way to the storage."""

    def __init__(self, planner: Any, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__(planner)
        self._change = change

    def resolve_data(self, item: Any) -> Any:
        data = self._inner.resolve_data(item)
        return data if item.type is WriteItemType.BYTE_IO else self._change(data)


def storage(
    *, breaks: Sequence[str], writer: Any = control.Writer, reader: Any = control.Reader, **fields: Any
) -> Backend:
    """A storage pair under torch's engine; the part that is not given is the control's.

    Nothing is done with `breaks`, here and below: the registry reads from the source which clauses must catch a mutant.
    """
    return Backend(**{"writer": writer, "reader": reader, "unsupported": control.UNSUPPORTED, **fields})


def torch_storage(
    *, breaks: Sequence[str], writer: Any = FileSystemWriter, reader: Any = FileSystemReader, **fields: Any
) -> Backend:
    """A storage pair in torch's format; the part that is not given is torch's own."""
    return Backend(**{"writer": writer, "reader": reader, **fields})


def engine(*, breaks: Sequence[str], **fields: Any) -> Backend:
    """An engine of its own over the control pair; of save, load and async_save the reference's where not given."""
    from dcp_conformance import reference_impl

    calls = {call: getattr(reference_impl, call) for call in ("save", "load", "async_save")}
    pair = {"writer": control.Writer, "reader": control.Reader, "unsupported": control.UNSUPPORTED}
    return Backend(**{**calls, **pair, **fields})
