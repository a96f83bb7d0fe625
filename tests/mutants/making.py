"""What mutants are made of: the control pair, torch's pair, and an engine that is sound but for its one bug."""

from __future__ import annotations

from typing import Any

from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter

from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend


def storage(name: str, *, writer: Any = control.Writer, reader: Any = control.Reader, **fields: Any) -> Backend:
    """A storage pair under torch's engine; the part that is not given is the control's."""
    return Backend(**{"name": name, "writer": writer, "reader": reader, "unsupported": control.UNSUPPORTED, **fields})


def torch_storage(
    name: str, *, writer: Any = FileSystemWriter, reader: Any = FileSystemReader, **fields: Any
) -> Backend:
    """A storage pair in torch's format; the part that is not given is torch's own."""
    return Backend(**{"name": name, "writer": writer, "reader": reader, **fields})


def engine(name: str, **fields: Any) -> Backend:
    """An engine of its own over the control pair; of save, load and async_save the reference's where not given."""
    from dcp_conformance import reference_impl

    calls = {call: getattr(reference_impl, call) for call in ("save", "load", "async_save")}
    pair = {"writer": control.Writer, "reader": control.Reader, "unsupported": control.UNSUPPORTED}
    return Backend(**{"name": name, **calls, **pair, **fields})
