"""What torch's own files look like when the subject wrote them, and whether it reads lawful ones that others wrote."""

from __future__ import annotations

import io
import logging
import warnings
from typing import Any

import torch

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.compatibility.files.on_ranks_torch_files import (
    Making,
    found,
    planted,
    stored_metadata,
    torch_files,
    torch_saved,
)

UNKNOWN_VERSION = "99.0"


def metadata_file(session: Session) -> tuple[list[str], str, str] | None:
    """After a save: the names of all files, and of `.metadata` the class of what it holds and the stated version."""
    files = _saved(session, {"t": torch.ones(3)})
    if files is None:
        return None
    metadata = stored_metadata(files)
    kind = type(metadata)
    return sorted(files), f"{kind.__module__}.{kind.__qualname__}", str(getattr(metadata, "version", None))


def storage_entries(session: Session) -> list[dict[str, Any]] | None:
    """Report what the pickled metadata says of the place of each value.

    size: of the file that is named, -1 without one.
    """
    files = _saved(session, _state(session))
    if files is None:
        return None
    entries = getattr(stored_metadata(files), "storage_data", None) or {}
    return [_entry(index, entry, files) for index, entry in entries.items()]


def entries_as_streams(session: Session) -> list[Difference] | None:
    """Read each value by hand from its byte range; a range that is no torch.save stream is a difference."""
    state = _state(session)
    files = _saved(session, state)
    if files is None:
        return None
    metadata, read = stored_metadata(files), []
    for index, entry in getattr(metadata, "storage_data", {}).items():
        # What was transformed (compressed, say) is a stream only after that was undone.
        if not getattr(entry, "transform_descriptors", None):
            read.append(index.fqn)
            yielded = _stream_differences(index, entry, files, metadata, state)
            if yielded:
                return yielded
    return [Difference(key, (), "an entry", "no entry") for key in state if key not in read]


def load_among_other_bytes(session: Session, backwards: bool) -> list[Difference] | None:
    """Entries that lie between whole streams of other values, so that only offset and length tell which is meant."""
    state = _state(session)
    decoy = torch_saved(torch.full((5, 6), -7.0))
    checkpoint_id = planted(session, torch_files(state, Making(around=decoy + b"\0" * 13, backwards=backwards)))
    if checkpoint_id is None:
        return None
    target = blank(state)
    session.load(target, checkpoint_id)
    return differences(state, target)


def load_unknown_version(session: Session) -> tuple[Attempt, list[str]] | None:
    """Load a checkpoint whose version nobody knows: how it ended, and what was warned or logged meanwhile."""
    checkpoint_id = planted(session, torch_files({"t": torch.ones(3)}, Making(version=UNKNOWN_VERSION)))
    if checkpoint_id is None:
        return None
    said = _Said()
    logging.getLogger().addHandler(said)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            attempt = session.attempt(session.load, {"t": torch.zeros(3)}, checkpoint_id)
    finally:
        logging.getLogger().removeHandler(said)
    return attempt, [*said.texts, *(str(warning.message) for warning in caught)]


def views_of_a_range(session: Session, steps: list[tuple[str, int, int]]) -> list[tuple[str, str, str]]:
    """Read a view, and a file that holds just that range: (where and after which step, expected, observed)."""
    view, text = session.tool("_ReaderView"), b"abcdefghijklmnopqrstuvwxyz"
    unlike = []
    for name, start in (("front", 0), ("middle", 7), ("back", 18)):
        expected = _steps(io.BytesIO(text[start : start + 8]), steps)
        observed = into_subject(_steps, into_subject(view, io.BytesIO(text), start, 8), steps)
        pairs = zip(steps, expected, observed, strict=True)
        unlike += [(f"{step[0]}({step[1]}) in the {name}", left, right) for step, left, right in pairs if left != right]
    return unlike


class _Said(logging.Handler):
    """Keeps the texts of warnings and errors that were logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _steps(stream: Any, steps: list[tuple[str, int, int]]) -> list[str]:
    return [repr(_step(stream, *step)) for step in steps]


def _step(stream: Any, name: str, number: int, whence: int) -> object:
    if name == "readinto":
        room = bytearray(number)
        count = stream.readinto(room)
        return bytes(room[:count])
    if name == "seek":
        stream.seek(number, whence)
        return stream.tell()
    return stream.read(number)


def _saved(session: Session, state: dict[str, Any]) -> dict[str, bytes] | None:
    checkpoint_id = session.new_id()
    session.save(state, checkpoint_id)
    return found(session, checkpoint_id)


def _state(session: Session) -> dict[str, Any]:
    unsupported = session.storage.unsupported
    state: dict[str, Any] = {
        "b": coded(1, (5, 6), version=1), "a": pattern("a", (3, 4), torch.bfloat16), "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3), "view": coded(2, (10, 4), version=1)[2:5],
    }  # fmt: skip
    if "layouts" not in unsupported:
        state["transposed"] = coded(3, (3, 5), version=1).t()
    if "objects" not in unsupported:
        state |= {"step": 7, "names": ["x", ("y", 2.5)]}
    return state


def _entry(index: Any, entry: Any, files: dict[str, bytes]) -> dict[str, Any]:
    path = getattr(entry, "relative_path", None)
    return {
        "key": index.fqn, "path": path,
        "offset": getattr(entry, "offset", None), "length": getattr(entry, "length", None),
        "size": len(files.get(str(path), b"")) if path in files else -1,
        "transforms": vars(entry).get("transform_descriptors", "left out"),
    }  # fmt: skip


def _stream_differences(
    index: Any, entry: Any, files: dict[str, bytes], metadata: Any, state: dict[str, Any]
) -> list[Difference]:
    data = files[entry.relative_path][entry.offset : entry.offset + entry.length]
    wanted = state[index.fqn]
    tensor = isinstance(wanted, torch.Tensor)
    try:
        value = torch.load(io.BytesIO(data), weights_only=tensor)
    except Exception as error:  # torch.load fails in many ways on bytes that are not its own
        return [Difference(index.fqn, (), "a torch.save stream", f"{type(error).__name__} when loaded")]
    if tensor:
        chunks = metadata.state_dict_metadata[index.fqn].chunks
        sizes = next(chunk.sizes for chunk in chunks if tuple(chunk.offsets) == tuple(index.offset))
        for dimension, (offset, size) in enumerate(zip(index.offset, sizes, strict=True)):
            wanted = wanted.narrow(dimension, offset, size)
    return differences(wanted, value, key=index.fqn)
