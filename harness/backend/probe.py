"""One save through a plain module's writer: what nobody claimed in words is not taken for granted against a module."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import torch

from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.harness.backend.resolve import resolve

_METADATA = ".metadata"


def contradicted(reference: str, options: tuple[tuple[str, str], ...], cwd: str) -> dict[str, str]:
    """Return the capabilities that a save shows a plain module not to have, each with what was seen.

    Nothing where the save fails or leaves no file: then nothing is shown, and the checks will tell.
    """
    backend = resolve(reference, dict(options), cwd)
    if not backend.plain or backend.writer is None or "torch_format" in backend.unsupported:
        return {}
    with tempfile.TemporaryDirectory(prefix="dcp-conformance-probe-") as scratch:
        folder = Path(scratch, "checkpoint")
        _save(backend, str(folder))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files or _is_metadata(folder / _METADATA):
            return {}
        names = ", ".join(path.relative_to(folder).as_posix() for path in files[:3])
    seen = f"a save left {names}{' and more' if len(files) > 3 else ''} and no pickled metadata in {_METADATA}"
    return {"torch_format": f"{seen}, so it writes a format of its own"}


def _save(backend: Backend, checkpoint_id: str) -> None:
    assert backend.writer is not None
    writer = backend.writer(checkpoint_id)
    torch.distributed.checkpoint.save({"probe": torch.arange(4)}, storage_writer=writer, no_dist=True)


def _is_metadata(path: Path) -> bool:
    """Tell whether a file begins as a pickle does; whether it is the right one, the checks of the format say."""
    try:
        return path.read_bytes()[:1] == pickle.PROTO
    except OSError:
        return False
