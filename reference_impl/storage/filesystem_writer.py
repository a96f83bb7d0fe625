"""Writing checkpoints to a folder, in torch's format, so that a crash at any moment loses nothing.

New data goes into new files, whose names carry the save id; nothing that a committed checkpoint refers to is touched.
Each rank makes its files and their names durable. Then the coordinator writes the metadata under a temporary name,
makes it durable, and renames it over ``.metadata``: this one rename is the commit. Only then are files removed that
the checkpoint no longer needs, and only such as torch or this package would have made; ``commit.py`` says which.
"""

from __future__ import annotations

import contextlib
import os
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.futures import Future

from dcp_conformance.reference_impl.files import naming
from dcp_conformance.reference_impl.files.extensions import StreamTransform
from dcp_conformance.reference_impl.files.file_jobs import FileJob, run_jobs, split
from dcp_conformance.reference_impl.files.local_files import LocalFiles, resolve_folder, usable_folder
from dcp_conformance.reference_impl.files.metadata_pickle import dump_metadata
from dcp_conformance.reference_impl.interchange import (
    FORMAT_VERSION,
    BytesStorageMetadata,
    Metadata,
    MetadataIndex,
    SavePlan,
    SavePlanner,
    StorageMeta,
    StorageWriter,
    WriteResult,
)
from dcp_conformance.reference_impl.storage.commit import Commit, Look, look


class FileSystemWriter(StorageWriter):
    """Writes a checkpoint folder.

    Args:
        path: the folder; made with its parents where it does not exist.
        single_file_per_rank: one data file per rank and thread; False: one per item.
        sync_files: make everything durable before it is relied on. False leaves a power cut able to lose it.
        thread_count: threads that write at once, at least 1.
        per_thread_copy_ahead: accepted for compatibility; without effect.
        cache_staged_state_dict: accepted for compatibility; without effect.
        overwrite: False refuses to save over a committed checkpoint.
        _extensions: transforms for the stored bytes, see ``reference_impl.files.extensions``.
        serialization_format: how tensors are stored; only torch.save, as torch reads nothing else back.

    Raises:
        ValueError: for a thread count below 1, or another format.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        single_file_per_rank: bool = True,
        sync_files: bool = True,
        thread_count: int = 1,
        per_thread_copy_ahead: int = 10_000_000,
        cache_staged_state_dict: bool = False,
        overwrite: bool = True,
        _extensions: Sequence[StreamTransform] | None = None,
        serialization_format: Any = "torch_save",
    ) -> None:
        if getattr(serialization_format, "value", serialization_format) != "torch_save":
            raise ValueError(f"serialization_format is {serialization_format}; torch.save is the one that can be read")
        if thread_count < 1:
            raise ValueError(f"thread_count is {thread_count}, it must be at least 1")
        self.single_file_per_rank = single_file_per_rank
        self.sync_files = sync_files
        self.thread_count = thread_count
        self.overwrite = overwrite
        self._extensions = tuple(_extensions or ())
        self._open(path)
        self._forget()
        self._spent = True  # the save id is made at the first use: copies of this writer must not share one

    def _open(self, path: str | os.PathLike[str]) -> None:
        self.files = LocalFiles(resolve_folder(path), sync=self.sync_files)

    def _forget(self) -> None:
        """Start a new save: a new save id, and nothing known of the last one."""
        self.save_id = str(uuid.uuid4())
        self.rank: int | None = None
        self.use_collectives = True
        self._spent = False
        self._made: list[str] = []
        #: Whether this save's metadata is in place; then its data must stay, whatever fails afterwards.
        self.committed = False
        self._before: Look | None = None

    # -- the interface of StorageWriter, in the order of its calls ---------------------------------------------------

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Begin another save, to ``checkpoint_id`` if given."""
        if checkpoint_id:
            self._open(checkpoint_id)
        self._forget()

    def storage_meta(self) -> StorageMeta:
        """Return the id of the checkpoint and of this save."""
        if self._spent:  # the writer is used again without a reset: that is another save
            self._forget()
        return StorageMeta(checkpoint_id=self.checkpoint_id, save_id=self.save_id)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Take this rank's role; ``rank`` and ``use_collectives`` come as keywords where the engine gives them."""
        if self._spent:
            self._forget()
        self.is_coordinator = is_coordinator
        self.rank = kwargs.get("rank")
        self.use_collectives = kwargs.get("use_collectives", True)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Make the folder and look for a checkpoint in it. Raises RuntimeError where it may not be overwritten."""
        self.files.make_folder()
        # Before any data is written: what is committed between here and the second look means that another save came
        # first.
        self._before = look(self.files)
        self._refuse_or_warn(self._before)
        prefix = naming.data_prefix(self.rank) if self._alone and self.rank is not None else None
        return replace(plan, storage_data=prefix)

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Give each rank the first part of its file names."""
        return [
            plan if isinstance(plan.storage_data, str) else replace(plan, storage_data=naming.data_prefix(rank))
            for rank, plan in enumerate(plans)
        ]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Store all items in new files and make them durable. A failure in any thread is raised here."""
        self._spent = True
        prefix = plan.storage_data if isinstance(plan.storage_data, str) else naming.data_prefix(self.rank or 0)
        token = naming.token_of(self.save_id)
        # As many files as threads: two threads cannot write one file without waiting for each other.
        groups = split(plan.items, self.thread_count) if self.single_file_per_rank else [[i] for i in plan.items]
        jobs = [FileJob(naming.data_name(prefix, number, token), items) for number, items in enumerate(groups)]
        # Noted before they are made: a write that fails half way has files to take back too.
        self._made = [job.name for job in jobs]
        try:
            results = run_jobs(jobs, self.files, planner, self.thread_count, self._extensions)
            if jobs:
                self.files.sync_folder()
        except BaseException:
            self.discard()
            raise
        future: Future[list[WriteResult]] = Future()
        future.set_result(results)
        return future

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Commit. Raises ValueError where an entry is missing, ConcurrentSaveError where another save came first."""
        self._spent = True
        metadata.version = FORMAT_VERSION
        metadata.storage_data = {result.index: result.storage_data for written in results for result in written}
        metadata.storage_meta = StorageMeta(checkpoint_id=self.checkpoint_id, save_id=self.save_id)
        # Before the commit: metadata that promise what nobody wrote would only be found out by a load.
        _require_complete(metadata)
        data = dump_metadata(metadata)
        needed = {info.relative_path for info in metadata.storage_data.values()}
        commit = Commit(files=self.files, rank=self.rank if self._alone else None, before=self._before)
        # From the second look to the removal: nobody else may commit in between.
        with self.files.commit_lock() as locked:
            superfluous = commit.superfluous(needed, locked=locked)
            self._publish(commit.name, data)
            commit.sweep(superfluous)

    def _publish(self, name: str, data: bytes) -> None:
        try:
            self.files.publish(name, data, naming.token_of(self.save_id))
            self.committed = True
        except BaseException:
            # An interrupt may come after the rename: then the checkpoint is there, and its data must not be taken back.
            self.committed = self.files.holds(name, data)
            raise
        finally:
            if self.committed:
                self._made = []
        self.files.sync_folder()

    @property
    def checkpoint_id(self) -> str:
        """The folder."""
        return self.files.folder

    @property
    def path(self) -> Path:
        """The folder, as torch's writer calls it."""
        return Path(self.files.folder)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Tell whether the id can name a local folder. Never raises and changes nothing."""
        return usable_folder(checkpoint_id, writing=True)

    # -- beyond the interface -----------------------------------------------------------------------------------------

    def discard(self) -> None:
        """Remove the data files of a save that was not committed. This package's engine calls it; torch's does not."""
        made, self._made = self._made, []
        for name in made:
            with contextlib.suppress(OSError):  # the failure that led here is the one to report
                self.files.remove(name)

    @property
    def _alone(self) -> bool:
        return not self.use_collectives and self.rank is not None

    def _refuse_or_warn(self, committed: Look) -> None:
        if self._alone:  # the other ranks' own checkpoints are not this rank's business
            own = naming.metadata_name(self.rank)
            committed = {name: seen for name, seen in committed.items() if name in (naming.METADATA, own)}
        if committed and not self.overwrite:
            raise RuntimeError(f"Checkpoint already exists in {self.checkpoint_id!r}, and overwrite is False")
        if committed:
            warnings.warn(f"overwriting the checkpoint in {self.checkpoint_id!r}", stacklevel=2)


def _require_complete(metadata: Metadata) -> None:
    """Raise ValueError where the metadata promises something that no rank has written."""
    for name, entry in metadata.state_dict_metadata.items():
        if isinstance(entry, BytesStorageMetadata):
            indices = [MetadataIndex(name)]
        else:
            indices = [MetadataIndex(name, chunk.offsets) for chunk in entry.chunks]
        missing = next((index for index in indices if index not in metadata.storage_data), None)
        if missing is not None:
            raise ValueError(f"nothing was written for {name!r} at offset {missing.offset}: the save is incomplete")
