"""Bugs that trust places, dates and clocks, or disturb random generators."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from dcp_conformance.harness import control
from tests.mutants.making import storage


class _DatedReader(control.Reader):
    """Takes data that is newer than the commit for the data of a save that is not finished."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        metadata = super().read_metadata(*args, **kwargs)
        data = [path.stat().st_mtime for path in self._root.glob("data/*/*")]
        if max(data, default=0.0) > (self._root / "commit").stat().st_mtime:
            raise RuntimeError(f"{self._root}: a save is still under way")
        return metadata


class _RootedReader(control.Reader):
    """Looks for data where it was written."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        metadata = super().read_metadata(*args, **kwargs)
        if metadata.storage_meta is not None:
            self._root = Path(str(metadata.storage_meta.checkpoint_id))
        return metadata


class _DrawingWriter(control.Writer):
    """Adds a random pause against stampedes, from the generator that training draws from too."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        time.sleep(random.random() / 1000)
        return super().write_data(plan, planner)


class _OlderOnlyWriter(control.Writer):
    """Leaves a commit alone that is newer than its own."""

    def finish(self, metadata: Any, results: Any) -> None:
        commit = self._root / "commit"
        if not commit.exists() or commit.stat().st_mtime <= time.time():
            super().finish(metadata, results)


trusts_dates = storage(breaks=["DET-02"], reader=_DatedReader)
remembers_its_place = storage(breaks=["DET-03"], reader=_RootedReader)
draws_random_names = storage(breaks=["DET-04"], writer=_DrawingWriter)
replaces_older_commits_only = storage(breaks=["DET-05"], writer=_OlderOnlyWriter)
