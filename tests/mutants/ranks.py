"""Bugs that show when a rank is lost: waiting for it, going on without it, or tidying up too early or in silence."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint import CheckpointException
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from tests.mutants.corruption import _Sparse
from tests.mutants.durability import _EarlyWriter
from tests.mutants.making import engine, storage


def _save_and_wait(state: Any, **arguments: Any) -> Any:
    """A rank whose save failed does not leave before its peers could be told, as long as they have a process."""
    try:
        return reference_impl.save(state, **arguments)
    except CheckpointException:
        while any(map(_stands_still, _peers())):
            time.sleep(0.2)
        raise


def _peers() -> list[int]:
    """The other children of the process that started this one: ranks of the same machine."""
    parent = os.getppid()
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return [int(pid) for pid in listed if int(pid) != os.getpid()]


def _stands_still(pid: int) -> bool:
    try:
        return ") T " in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False


class _NotingWriter(control.Writer):
    """Knows where the new data of the save at hand lies."""

    new_data: Path | None = None

    def write_data(self, plan: Any, planner: Any) -> Any:
        self.new_data = (self._root / plan.storage_data).parent
        return super().write_data(plan, planner)


def _on_failure(repair: Callable[[Any, CheckpointException], None]) -> Callable[..., Any]:
    def save(state: Any, **arguments: Any) -> Any:
        try:
            return reference_impl.save(state, **arguments)
        except CheckpointException as error:
            repair(arguments.get("storage_writer"), error)
            raise

    return save


def _commit_anyway(writer: Any, error: CheckpointException) -> None:
    """A peer that does not answer has certainly written its part: the time-out is only about the answer."""
    late = any("imed out" in str(inner) or "imeout" in str(inner) for inner, _ in error.failures.values())
    if late and writer is not None and getattr(writer, "_plans", None) is not None:
        writer.commit_planned()


class _StubbornWriter(_EarlyWriter):
    """Keeps the metadata that will be, to commit it where nobody else does."""

    _wanted: Any = None

    def write_data(self, plan: Any, planner: Any) -> Any:
        self._wanted = getattr(planner, "metadata", None)
        return control.Writer.write_data(self, plan, planner)

    def commit_planned(self) -> None:
        if self._wanted is not None:
            items = [
                (item.index, f"{each.storage_data}-{number}")
                for each in self._plans
                for number, item in enumerate(each.items)
            ]
            results = [WriteResult(index=index, size_in_bytes=0, storage_data=name) for index, name in items]
            control.Writer.finish(self, self._wanted, [results])


def _remove_new_data(writer: Any, error: CheckpointException) -> None:
    """A failed save leaves nothing behind."""
    if writer is not None and getattr(writer, "new_data", None) is not None:
        shutil.rmtree(writer.new_data, ignore_errors=True)


class _SilentWriter(control.Writer):
    """An item that cannot be had is skipped, and a save that lacks one is not committed: the old one stays."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        try:
            return super().write_data(plan, planner)
        except OSError:
            done: Any = Future()
            done.set_result([])
            return done

    def finish(self, metadata: Any, results: Any) -> None:
        if all(results):
            super().finish(metadata, results)


waits_while_the_other_lives = engine(breaks=["FAIL-10"], save=_save_and_wait)
commits_what_it_has_after_a_timeout = engine(
    breaks=["DUR-12", "DUR-02"], save=_on_failure(_commit_anyway), writer=_StubbornWriter, reader=_Sparse
)
tidies_up_behind_a_slow_rank = engine(breaks=["DUR-04"], save=_on_failure(_remove_new_data), writer=_NotingWriter)
gives_up_in_silence = storage(breaks=["DUR-04"], writer=_SilentWriter)
