"""Bugs that show only when two things happen at once, or one thing after another."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import time
from pathlib import Path
from typing import Any

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from tests.mutants.making import engine, storage, torch_storage


class _SweepingWriter(control.Writer):
    """Removes all data but its own once it has committed."""

    def finish(self, metadata: Any, results: Any) -> None:
        own = self._save_id
        super().finish(metadata, results)
        for folder in (self._root / "data").iterdir():
            if folder.name != own:
                shutil.rmtree(folder, ignore_errors=True)


_ROOT: list[Path] = []


class _ModuleWriter(control.Writer):
    """Helpers of this module look up the folder of the current save."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        _ROOT[:] = [self._root]
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)

    def write_data(self, plan: Any, planner: Any) -> Any:
        time.sleep(0.001)
        self._root = _ROOT[0]
        return super().write_data(plan, planner)


class _LockingReader(control.Reader):
    """One reader at a time."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        lock = self._root / "lock"
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
        try:
            return super().read_data(plan, planner)
        finally:
            lock.unlink()


class _RememberingPlanner(reference_impl.DefaultSavePlanner):
    """Keeps the item that it works on in the planner."""

    _item: Any = None

    def resolve_data(self, write_item: Any) -> Any:
        self._item = write_item
        time.sleep(0)
        return super().resolve_data(self._item)


class _RacyWriter(control.Writer):
    """Looks whether the folder is there, and makes it if not."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        if not self._root.exists():
            self._root.parent.mkdir(parents=True, exist_ok=True)
            time.sleep(0.001)
            self._root.mkdir()


class _StickyWriter(control.Writer):
    """Connects once, and stays connected to the place of its first save."""

    _first: Path | None = None

    def reset(self, checkpoint_id: Any = None) -> None:
        super().reset(checkpoint_id)
        self._first = self._first or self._root
        self._root = self._first


class _LookingWriter(control.Writer):
    """Makes sure that every object is there before it commits."""

    def finish(self, metadata: Any, results: Any) -> None:
        missing = [result.storage_data for rank in results for result in rank
                   if not (self._root / result.storage_data).exists()]  # fmt: skip
        if missing:
            raise FileNotFoundError(f"not there: {missing}")
        super().finish(metadata, results)


class _RotatingWriter(control.Writer):
    """Keeps the last ten checkpoints of a folder."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        place = "-".join(self._root.name.split("-")[:2])
        commits = sorted(self._root.parent.glob(f"{place}-*/commit"), key=lambda path: path.stat().st_mtime_ns)
        for commit in commits[:-10]:
            shutil.rmtree(commit.parent, ignore_errors=True)


class _PrefixSweeper(reference_impl.FileSystemWriter):
    """Lists what may be removed by the id, without a slash behind it: with `step_1` it sweeps `step_10`."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        needed = {info.relative_path for info in metadata.storage_data.values()}
        for path in glob.glob(f"{glob.escape(self.checkpoint_id)}*/__*"):
            if os.path.basename(path) not in needed:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)


sweeps_what_it_does_not_know = storage(breaks=["CONC-02"], writer=_SweepingWriter)
keeps_its_folder_in_the_module = storage(breaks=["CONC-04"], writer=_ModuleWriter)
locks_out_other_readers = storage(breaks=["CONC-05"], reader=_LockingReader)
remembers_the_item_in_the_planner = engine(
    breaks=["CONC-06"],
    utilities={
        "DefaultSavePlanner": _RememberingPlanner,
        "DefaultLoadPlanner": reference_impl.DefaultLoadPlanner,
    },
)
makes_the_folder_if_it_is_missing = storage(breaks=["CONC-07"], writer=_RacyWriter)
keeps_its_first_id = storage(breaks=["CONC-08"], writer=_StickyWriter)
looks_for_all_objects_at_commit = storage(breaks=["CONC-09"], writer=_LookingWriter)
keeps_the_last_ten = storage(breaks=["CONC-10"], writer=_RotatingWriter)
sweeps_what_begins_with_the_id = torch_storage(
    breaks=["CONC-10"], writer=_PrefixSweeper, reader=reference_impl.FileSystemReader
)
