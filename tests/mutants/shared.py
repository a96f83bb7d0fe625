"""Bugs of stores that keep equal contents once: they take away what somebody else still needs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import read_object, unpickled, write_object
from tests.mutants.history import _PoolReader
from tests.mutants.making import storage


class _Pool(control.Writer):
    """Keeps contents under their digest in a pool that neighbours share, and never removes one."""

    @property
    def _pool(self) -> Path:
        return self._root.parent

    def write_data(self, plan: Any, planner: Any) -> Any:
        results: list[WriteResult] = []
        try:
            for item in plan.items:
                content = control._item_bytes(item, planner)
                name = f"data/{hashlib.sha256(content).hexdigest()[:32]}/0-0"
                size = write_object(self._pool, name, content)
                results.append(WriteResult(index=item.index, size_in_bytes=size, storage_data=name))
        except Exception:
            self.failed(results)
            raise
        self.wrote(plan, results)
        done: Future[Any] = Future()
        done.set_result(results)
        return done

    def failed(self, results: Iterable[WriteResult]) -> None:
        """Clean up after a failure."""

    def wrote(self, plan: Any, results: Iterable[WriteResult]) -> None:
        """Go on after all was written."""

    def take_away(self, names: Iterable[str]) -> None:
        """Remove contents."""
        for name in names:
            (self._pool / name).unlink(missing_ok=True)

    def old_names(self) -> dict[Any, str]:
        """Return what the checkpoint at this id refers to."""
        try:
            return dict(unpickled(read_object(self._root, "commit")).storage_data)
        except OSError:
            return {}


class _TakesBack(_Pool):
    """Removes what a failed write had put, though it may have been there before."""

    def failed(self, results: Iterable[WriteResult]) -> None:
        self.take_away(result.storage_data for result in results)


class _TakesBackAtCommit(_Pool):
    """Removes all that a save had put when its commit fails."""

    def finish(self, metadata: Any, results: Any) -> None:
        try:
            super().finish(metadata, results)
        except Exception:
            self.take_away(result.storage_data for rank in results for result in rank)
            raise


class _Journal(_Pool):
    """Notes what each rank writes, and removes what is noted when a save finds that the one before never ended."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        if is_coordinator:
            for note in self._root.glob("noted-*"):
                self.take_away(json.loads(note.read_text()))
                note.unlink()

    def wrote(self, plan: Any, results: Iterable[WriteResult]) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        note = self._root / f"noted-{plan.storage_data.rpartition('/')[2]}"
        note.write_text(json.dumps([result.storage_data for result in results]))

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        for note in self._root.glob("noted-*"):
            note.unlink()


class _OwnPool(_Pool):
    """A pool for each id."""

    @property
    def _pool(self) -> Path:
        return self._root


class _Frees(_OwnPool):
    """Removes, of each entry that has changed, what it had; and does not look who else has that."""

    def finish(self, metadata: Any, results: Any) -> None:
        old = self.old_names()
        super().finish(metadata, results)
        self.take_away(name for index, name in old.items() if metadata.storage_data.get(index) != name)


class _TakesBackOwn(_OwnPool):
    """Removes what a failed write had put, in a pool that only overwrites share."""

    def failed(self, results: Iterable[WriteResult]) -> None:
        self.take_away(result.storage_data for result in results)


class _EmptiesEarly(_OwnPool):
    """Empties what is no longer needed in place, of which a reader that is at work knows nothing."""

    def finish(self, metadata: Any, results: Any) -> None:
        old = set(self.old_names().values())
        super().finish(metadata, results)
        self.take_away(old - set(metadata.storage_data.values()))


class _MissingIsZero(control.Reader):
    """Leaves a target as it is where the content is gone: it takes that for a sparse entry."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        for item in plan.items:
            with contextlib.suppress(FileNotFoundError):
                super().read_data(replace(plan, items=[item]), planner)
        return super().read_data(replace(plan, items=[]), planner)


def _discard(checkpoint_id: str) -> bool:
    """Remove a checkpoint with everything that it refers to."""
    root = Path(checkpoint_id)
    if (root / "commit").exists():
        for name in set(unpickled(read_object(root, "commit")).storage_data.values()):
            (root.parent / name).unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)
    return True


takes_back_what_others_share = storage(breaks=["FIN-14"], writer=_TakesBack, reader=_PoolReader)
takes_back_at_a_failed_commit = storage(breaks=["FIN-14"], writer=_TakesBackAtCommit, reader=_PoolReader)
sweeps_what_an_unfinished_save_wrote = storage(breaks=["FIN-14"], writer=_Journal, reader=_PoolReader)
frees_what_an_equal_entry_uses = storage(breaks=["FIN-06"], writer=_Frees)
forgets_whom_it_shares_with_in_a_failed_overwrite = storage(breaks=["DUR-04"], writer=_TakesBackOwn)
discards_what_a_neighbour_shares = storage(breaks=["CONC-10"], writer=_Pool, reader=_PoolReader, discard=_discard)
frees_what_is_being_read = storage(breaks=["CONC-01"], writer=_EmptiesEarly, reader=_MissingIsZero)
