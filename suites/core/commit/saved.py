"""What scenarios of this chapter save, and what is then found in the store."""

from __future__ import annotations

import hashlib
from typing import Any

from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.session import Session


def needs_a_writer(session: Session) -> None:
    """Excuse an engine that takes no writer: it has no finish that anybody could watch."""
    if session.storage.writer is None or not session.takes("save", "storage_writer"):
        session.excuse("this save takes no storage writer, so it makes no promise about its finish")


def own_state(rank: int, *, version: int = 1, names: int = 3, length: int = 16) -> dict[str, Any]:
    """What `rank` saves: tensors under names of its own, whose elements tell their version."""
    return {
        f"own{rank}.{number}": coded(rank * 64 + number, (length,), version=version) for number in range(names)
    }  # fmt: skip


def common_state(ranks: int, **arguments: Any) -> dict[str, Any]:
    """What `ranks` ranks saved, together."""
    return {key: value for rank in range(ranks) for key, value in own_state(rank, **arguments).items()}


def stored(session: Session, checkpoint_id: Any) -> dict[str, str]:
    """Names of stored objects with a digest of their content; {} where they cannot be reached."""
    if "stored_bytes" in session.storage.unsupported:
        return {}
    blobs = session.blobs(checkpoint_id)
    return {} if blobs is None else {name: hashlib.sha256(blobs.read(name)).hexdigest() for name in blobs.names()}


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What became of stored objects, in words."""
    words = [f"{name} was removed" for name in before if name not in after]
    words += [f"{name} was added" for name in after if name not in before]
    return words + [f"{name} was changed" for name in before if name in after and before[name] != after[name]]


def stored_keys(session: Session, checkpoint_id: Any) -> list[str]:
    """The keys that the stored metadata lists."""
    return sorted(session.reader(checkpoint_id).read_metadata().state_dict_metadata)
