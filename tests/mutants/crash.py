"""Bugs that only a crash shows: what was not synced, not in order, or not in one step."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import Any

from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import read_object, write_object
from tests.mutants.corruption import _Reading
from tests.mutants.making import storage


def _unsynced(path: Path, content: bytes) -> None:
    """What most people write: a file beside, and a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


class _CachedWriter(control.Writer):
    """Leaves it to the kernel when data goes to the disk; the digest is of what was meant to be there."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        future = super().write_data(plan, planner)
        for result in future.wait():
            path = self._root / str(result.storage_data)
            content = path.read_bytes()
            path.unlink()
            _unsynced(path, content)
        return future


class _Default(_Reading):
    """What is not there, or is nothing but zeros, keeps the value that the target has."""

    def content(self, name: str) -> bytes | None:
        path = self._root / name
        return super().content(name) if path.exists() and path.read_bytes().strip(b"\0") else None


class _MapWriter(control.Writer):
    """Syncs the file as soon as it has its size, and then fills it through shared memory."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        future = super().write_data(plan, planner)
        for result in future.wait():
            path = self._root / str(result.storage_data)
            content = path.read_bytes()
            with open(path, "r+b") as stream, mmap.mmap(stream.fileno(), 0) as mapped:
                mapped[:] = bytes(len(content))
                mapped.flush()
                mapped[:] = content
        return future


class _CachedCommit(control.Writer):
    """Everything is synced but for the object that makes it a checkpoint."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        path = self._root / "commit"
        content = path.read_bytes()
        path.unlink()
        _unsynced(path, content)


class _EarlySync(control.Writer):
    """Syncs a file whose bytes still lie in the buffer of its stream."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        content = (self._root / "commit").read_bytes()
        with open(self._root / "commit.tmp", "wb", buffering=1 << 20) as stream:
            stream.write(content)
            os.fsync(stream.fileno())
        os.replace(self._root / "commit.tmp", self._root / "commit")


class _InPlace(control.Writer):
    """Every save of an id uses the same names, each of which changes in one step."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        self._save_id = "0" * 32


class _ListWriter(control.Writer):
    """Notes the keys, one by one, when there is a checkpoint to list them of."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        with open(self._root / "keys", "wb", buffering=0) as stream:
            for key in metadata.state_dict_metadata:
                stream.write(json.dumps(key).encode() + b"\n")
            os.fsync(stream.fileno())


class _ListReader(control.Reader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        metadata = super().read_metadata(*args, **kwargs)
        lines = (self._root / "keys").read_bytes().splitlines()
        known = {json.loads(line) for line in lines if line.endswith(b'"')}
        metadata.state_dict_metadata = {k: v for k, v in metadata.state_dict_metadata.items() if k in known}
        return metadata


class _Hasty(control.Writer):
    """Has one object of the coordinator written last, after the commit."""

    _late: dict[str, bytes] = {}

    def write_data(self, plan: Any, planner: Any) -> Any:
        future = super().write_data(plan, planner)
        own = [str(result.storage_data) for result in future.wait() if "/0-" in str(result.storage_data)]
        self._late = {name: read_object(self._root, name) for name in own[-1:]}
        for name in self._late:
            (self._root / name).unlink()
        return future

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        for name, content in self._late.items():
            write_object(self._root, name, content)


class _Moving(control.Writer):
    """Keeps the old checkpoint as a backup, under another name, until the new one is there."""

    def finish(self, metadata: Any, results: Any) -> None:
        commit, backup = self._root / "commit", self._root / "commit.bak"
        if commit.exists():
            os.replace(commit, backup)
        super().finish(metadata, results)
        backup.unlink(missing_ok=True)


commits_data_that_is_in_the_cache_only = storage(breaks=["DUR-13"], writer=_CachedWriter, reader=_Default)
leaves_its_commit_in_the_cache = storage(breaks=["DUR-14"], writer=_CachedCommit)
syncs_its_map_before_it_is_filled = storage(breaks=["DUR-06"], writer=_MapWriter)
syncs_its_commit_before_it_is_flushed = storage(breaks=["DUR-14"], writer=_EarlySync)
renames_its_data_over_the_old = storage(breaks=["DUR-04", "DUR-05"], writer=_InPlace)
grows_its_list_of_keys_after_the_commit = storage(breaks=["DUR-03"], writer=_ListWriter, reader=_ListReader)
commits_before_the_last_object = storage(breaks=["DUR-02"], writer=_Hasty, reader=_Default)
moves_the_old_checkpoint_away_first = storage(breaks=["FIN-05", "DUR-04"], writer=_Moving)
