"""Bugs in the commit: too early, too late, twice, of the wrong data, or over what was there."""

from __future__ import annotations

import pickle
import shutil
import threading
import time
import uuid
from typing import Any

from torch.distributed.checkpoint import Metadata
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.faults.proxy import interpose
from tests.mutants.making import engine, storage


class _Twice:
    """A tap that calls finish again, to be sure."""

    def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
        inner(*args, **kwargs)
        return inner(*args, **kwargs)


class _Backwards:
    """A tap that hands the results on in the order in which they came in."""

    def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
        return (
            inner(args[0], args[1][::-1])
            if len(args) > 1
            else inner(*args, **{**kwargs, "results": kwargs["results"][::-1]})
        )


class _Swallowing:
    """A tap that takes an error of finish for a warning."""

    def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
        try:
            return inner(*args, **kwargs)
        except Exception:  # the bug
            return None


class _Hasty:
    """A tap that waits half a second for a write, and no longer."""

    def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
        future, deadline = inner(*args, **kwargs), time.monotonic() + 0.5
        while not future.done():
            if time.monotonic() > deadline:
                raise TimeoutError("the write took longer than half a second")
            time.sleep(0.01)
        return future


def _save_through(method: str, tap: Any) -> Any:
    def save(state_dict: Any, *, storage_writer: Any = None, **kwargs: Any) -> Any:
        return reference_impl.save(state_dict, storage_writer=interpose(storage_writer, (method,), tap), **kwargs)

    return save


class _Scannable(control.Writer):
    """Writes an index beside the data of each rank, so that a lost commit can be rebuilt."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        future = super().write_data(plan, planner)
        entries = [
            (item, f"{plan.storage_data}-{number}") for number, item in enumerate(plan.items) if item.tensor_data
        ]
        self._root.mkdir(parents=True, exist_ok=True)
        (self._root / f"index-{plan.storage_data.rpartition('/')[2]}").write_bytes(pickle.dumps(entries))
        return future


class _Rebuilding(control.Reader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_metadata(*args, **kwargs)
        except FileNotFoundError:
            indexes = [pickle.loads(path.read_bytes()) for path in self._root.glob("index-*")]
            if not indexes:
                raise
        entries: dict[str, Any] = {}
        for item, _ in (entry for index in indexes for entry in index):
            data = item.tensor_data
            entries.setdefault(item.index.fqn, TensorStorageMetadata(data.properties, data.size, [])).chunks.append(
                data.chunk
            )
        return Metadata(entries, storage_data={item.index: name for index in indexes for item, name in index})


class _Remembering(control.Writer):
    """Collects results as they come, and starts anew once they are committed."""

    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(checkpoint_id)
        self._written: dict[Any, Any] = {}

    def write_data(self, plan: Any, planner: Any) -> Any:
        future = super().write_data(plan, planner)
        for result in future.wait():
            self._written.setdefault(result.index, result)
        return future

    def finish(self, metadata: Metadata, results: Any) -> None:
        super().finish(metadata, [[self._written.get(result.index, result) for result in rank] for rank in results])
        self._written = {}


_PENDING: list[threading.Thread] = []


class _Background(control.Writer):
    """Commits when it finds the time."""

    def finish(self, metadata: Metadata, results: Any) -> None:
        def commit() -> None:
            time.sleep(0.3)
            super(_Background, self).finish(metadata, results)

        _PENDING.append(threading.Thread(target=commit))
        _PENDING[-1].start()


class _Clearing(control.Writer):
    """Removes the old commit before it writes the new one."""

    def finish(self, metadata: Metadata, results: Any) -> None:
        (self._root / "commit").unlink(missing_ok=True)
        super().finish(metadata, results)


class _FirstWins(control.Writer):
    def finish(self, metadata: Metadata, results: Any) -> None:
        if not (self._root / "commit").exists():
            super().finish(metadata, results)


class _RefusesLate(control.Writer):
    """Looks whether there is a checkpoint when it is about to commit."""

    def finish(self, metadata: Metadata, results: Any) -> None:
        if (self._root / "commit").exists():
            raise FileExistsError(f"a checkpoint exists in {self._root}")
        super().finish(metadata, results)


class _RefusesDarkly(control.Writer):
    def prepare_local_plan(self, plan: Any) -> Any:
        if (self._root / "commit").exists():
            raise RuntimeError("invalid state")
        return super().prepare_local_plan(plan)


class _Hoarding(control.Writer):
    """Keeps a copy of everything, in case somebody needs it."""

    def finish(self, metadata: Metadata, results: Any) -> None:
        super().finish(metadata, results)
        shutil.copytree(self._root / "data", self._root / f"old-{uuid.uuid4().hex}")


class _RefusesRemains(control.Writer):
    """Takes any data for a checkpoint."""

    def prepare_local_plan(self, plan: Any) -> Any:
        if (self._root / "data").exists():
            raise FileExistsError(f"a checkpoint exists in {self._root}")
        return super().prepare_local_plan(plan)


_WRITE_ONCE = {
    **control.UNSUPPORTED,
    "overwrite": "this store writes once",
    "crash_safe_overwrite": "it never overwrites",
}

finishes_twice = engine(breaks=["FIN-01"], save=_save_through("finish", _Twice()))
rebuilds_what_was_never_committed = storage(breaks=["FIN-02"], writer=_Scannable, reader=_Rebuilding)
mixes_results_of_ranks = engine(breaks=["FIN-03"], save=_save_through("finish", _Backwards()))
keeps_results_of_a_failed_save = storage(breaks=["FIN-03"], writer=_Remembering)
commits_in_the_background = storage(breaks=["FIN-04"], writer=_Background)
clears_the_way_for_its_commit = storage(breaks=["FIN-05"], writer=_Clearing)
keeps_the_first_checkpoint = storage(breaks=["FIN-06"], writer=_FirstWins)
refuses_after_writing = storage(breaks=["FIN-07"], writer=_RefusesLate, unsupported=_WRITE_ONCE)
refuses_without_a_reason = storage(breaks=["FIN-07"], writer=_RefusesDarkly, unsupported=_WRITE_ONCE)
never_removes_what_it_replaced = storage(breaks=["FIN-08"], writer=_Hoarding)
takes_remains_for_a_checkpoint = storage(breaks=["FIN-10"], writer=_RefusesRemains, unsupported=_WRITE_ONCE)
swallows_errors_of_finish = engine(breaks=["FIN-11"], save=_save_through("finish", _Swallowing()))
has_no_patience = engine(breaks=["FIN-13"], save=_save_through("write_data", _Hasty()))
