"""Torch's files through fsspec: the same checkpoint in a local folder and in a file system in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.compatibility.files.on_ranks_torch_files import found, planted


def local_and_in_memory(session: Session) -> tuple[list[str], list[str], list[Difference]] | None:
    """Save locally and through fsspec; report both file names, and what differs when each side reads the other's."""
    state = {"a": coded(1, (4, 3), version=1), "b": torch.ones(7), **_objects(session)}
    local_id = session.new_id("local")
    session.save(state, local_id)
    local = found(session, local_id)
    if local is None:
        return None
    with _Memory(session) as memory:
        writer = session.tool("FsspecWriter")
        session.save(state, memory.address("saved"), writer=into_subject(writer, memory.address("saved")))
        remote = memory.files("saved")
        memory.fill("copied", local)
        return sorted(local), sorted(remote), _read_across(session, state, remote, memory)


def _read_across(
    session: Session, state: dict[str, Any], remote: Mapping[str, bytes], memory: _Memory
) -> list[Difference]:
    reader, unlike = session.tool("FsspecReader"), []
    for name in ("saved", "copied"):
        target = blank(state)
        session.load(target, memory.address(name), reader=into_subject(reader, memory.address(name)))
        unlike += differences(state, target, key=f"{name} in memory")
    target = blank(state)
    session.load(target, planted(session, remote))
    return unlike + differences(state, target, key="copied to a folder")


class _Memory:
    """Give a folder of fsspec's file system in memory, which is gone afterwards."""

    def __init__(self, session: Session) -> None:
        import fsspec  # type: ignore[import-untyped]

        self._system = fsspec.filesystem("memory")
        self._root = f"/dcp-conformance-{session.spec.place}"

    def __enter__(self) -> _Memory:
        self._system.makedirs(self._root, exist_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._system.rm(self._root, recursive=True)

    def address(self, name: str) -> str:
        return f"memory:/{self._root}/{name}"

    def files(self, name: str) -> dict[str, bytes]:
        folder = f"{self._root}/{name}/"
        return {path.removeprefix(folder): self._system.cat_file(path) for path in self._system.find(folder)}

    def fill(self, name: str, files: Mapping[str, bytes]) -> None:
        for file, data in files.items():
            self._system.pipe_file(f"{self._root}/{name}/{file}", data)


def _objects(session: Session) -> dict[str, Any]:
    return {} if "objects" in session.storage.unsupported else {"step": 7}
