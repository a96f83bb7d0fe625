"""Stream transforms through the subject: written, recorded, undone, unknown, held back, not to be sought in."""

from __future__ import annotations

import io
from typing import Any

import torch

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.compatibility.extensions.on_ranks_transforms import (
    Log,
    applied,
    descriptor,
    descriptor_name,
    registry,
    transform,
    undone,
)
from dcp_conformance.suites.compatibility.files.on_ranks_torch_files import (
    Making,
    found,
    planted,
    stored_metadata,
    torch_files,
)

NAMES = ("turn", "flip", "mask")


def chained(session: Session, names: list[str]) -> tuple[list[str], list[list[str]], list[Difference]]:
    """Save with these transforms, and read entries by hand as recorded.

    Returns the transforms that were never opened, the descriptors of all entries (distinct; none where they are beyond
    reach), and what differs.
    """
    log = Log()
    kinds, state, checkpoint_id = [transform(name, log) for name in names], _state(session), session.new_id()
    _save(session, state, checkpoint_id, kinds)
    idle = [name for name in names if not log.counts[f"{name} opened"]]
    return idle, *_read_by_hand(session, checkpoint_id, state)


def chained_and_undone(session: Session, names: list[str]) -> list[Difference]:
    """Save with these transforms, load with a registry that knows them."""
    kinds, state, checkpoint_id = [transform(name, Log()) for name in names], _state(session), session.new_id("undone")
    _save(session, state, checkpoint_id, kinds)
    return _loaded(session, state, checkpoint_id, kinds)


def known_to_reader(session: Session) -> list[Difference]:
    """Load through a reader that has nothing but a registry, which knows other transforms too."""
    log = Log()
    kinds, state, checkpoint_id = [transform(name, log) for name in NAMES], _state(session), session.new_id()
    _save(session, state, checkpoint_id, kinds[1:2])
    return _loaded(session, state, checkpoint_id, kinds)


def unknown_to_reader(session: Session) -> Attempt:
    """Load through a reader whose registry does not know what was applied."""
    state, checkpoint_id = _state(session), session.new_id()
    _save(session, state, checkpoint_id, [transform("turn", Log())])
    return session.attempt(session.load, blank(state), checkpoint_id)


def plain_with_any_registry(session: Session) -> list[Difference]:
    """Entries without transforms, alone and beside others, loaded with several registries."""
    log = Log()
    kinds, state, plain = [transform(name, log) for name in NAMES], _state(session), session.new_id("plain")
    session.save(state, plain)
    unlike = _loaded(session, state, plain, kinds)
    empty = registry()
    empty.extensions.clear()
    for known in (registry(), empty):
        target = blank(state)
        session.load(target, plain, reader=session.reader(plain, _extension_registry=known))
        unlike += differences(state, target)
    mixed = _mixed(session, state)
    return unlike + (_loaded(session, state, mixed, kinds) if mixed is not None else [])


def held_back(session: Session) -> tuple[int, int, list[Difference]]:
    """Save through a transform that writes only when closed; report streams opened, closed, and what differs."""
    log, state, checkpoint_id = Log(), _state(session), session.new_id()
    kind = transform("turn", log, holds_back=True)
    _save(session, state, checkpoint_id, [kind])
    unlike = _loaded(session, state, checkpoint_id, [kind])
    return log.counts["turn opened"], log.counts["turn closed"], unlike


def not_seekable(session: Session) -> list[Difference]:
    """Save and load through a transform whose streams can only be written and read on."""
    kind, state, checkpoint_id = transform("turn", Log(), seekable=False), _state(session), session.new_id()
    _save(session, state, checkpoint_id, [kind])
    return _loaded(session, state, checkpoint_id, [kind])


def _save(session: Session, state: dict[str, Any], checkpoint_id: Any, kinds: list[type[Any]]) -> None:
    writer = session.writer(checkpoint_id, _extensions=[kind() for kind in kinds])
    session.save(state, checkpoint_id, writer=writer)


def _loaded(session: Session, state: dict[str, Any], checkpoint_id: Any, kinds: list[type[Any]]) -> list[Difference]:
    target = blank(state)
    reader = session.reader(checkpoint_id, _extension_registry=registry(*kinds))
    session.load(target, checkpoint_id, reader=reader)
    return differences(state, target)


def _read_by_hand(
    session: Session, checkpoint_id: Any, state: dict[str, Any]
) -> tuple[list[list[str]], list[Difference]]:
    files = None if "torch_format" in session.storage.unsupported else found(session, checkpoint_id)
    if files is None:
        return [], []
    recorded: list[list[str]] = []
    unlike: list[Difference] = []
    for index, entry in getattr(stored_metadata(files), "storage_data", {}).items():
        names = list(getattr(entry, "transform_descriptors", None) or [])
        recorded += [names] if names not in recorded else []
        data = files[entry.relative_path][entry.offset : entry.offset + entry.length]
        for name in names:
            data = undone(name.removeprefix(descriptor_name("")).partition("/")[0], data)
        unlike += _as_stream(index.fqn, data, state[index.fqn])
    return recorded, unlike


def _as_stream(key: str, data: bytes, wanted: Any) -> list[Difference]:
    try:
        value = torch.load(io.BytesIO(data), weights_only=False)
    except Exception as error:  # torch.load fails in many ways on bytes that are not its own
        return [Difference(key, (), "a torch.save stream", f"{type(error).__name__} when loaded")]
    return differences(wanted, value, key=key)


def _mixed(session: Session, state: dict[str, Any]) -> Any:
    if "torch_format" in session.storage.unsupported:
        return None
    transforms = {"a": (descriptor("turn"), lambda data: applied("turn", data))}
    return planted(session, torch_files(state, Making(transforms=transforms)), "mixed")


def _state(session: Session) -> dict[str, Any]:
    state: dict[str, Any] = {
        "a": coded(1, (5, 6), version=1), "b": pattern("b", (33,), torch.bfloat16), "c": torch.ones(2),
    }  # fmt: skip
    return state if "objects" in session.storage.unsupported else state | {"step": 7, "names": ["x", ("y", 2.5)]}
