"""Bugs in the order of things: committed too early, too late, or over what was there."""

from __future__ import annotations

import copy
import io
import pickle
import threading
import time
from typing import Any

from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import write_object
from tests.mutants.corruption import _Sparse
from tests.mutants.making import engine, storage


class _EarlyWriter(control.Writer):
    """Commits as soon as it knows where everything will be; a reader finds zeros where nothing is yet."""

    _plans: Any = None

    def prepare_global_plan(self, plans: Any) -> Any:
        self._plans = super().prepare_global_plan(plans)
        return self._plans

    def write_data(self, plan: Any, planner: Any) -> Any:
        known = getattr(planner, "metadata", None)
        if self._plans is not None and known is not None:
            metadata = copy.copy(known)
            metadata.storage_data = {
                item.index: f"{each.storage_data}-{number}"
                for each in self._plans
                for number, item in enumerate(each.items)
            }
            metadata.storage_meta = self.storage_meta()
            write_object(self._root, "commit", pickle.dumps(metadata))
        return super().write_data(plan, planner)


class _SilentWriter(control.Writer):
    """Tells of a failure, and not of what it was."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        try:
            return super().write_data(plan, planner)
        except OSError:
            raise RuntimeError("the data could not be stored") from None

    def finish(self, metadata: Any, results: Any) -> None:
        try:
            super().finish(metadata, results)
        except OSError:
            raise RuntimeError("the metadata could not be stored") from None


class _StreamWriter(control.Writer):
    """Keeps the names of all keys in a stream that can be read bit by bit."""

    def finish(self, metadata: Any, results: Any) -> None:
        (self._root / "keys").parent.mkdir(parents=True, exist_ok=True)
        (self._root / "keys").write_bytes(b"".join(map(pickle.dumps, metadata.state_dict_metadata)))
        super().finish(metadata, results)


class _StreamReader(control.Reader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        metadata = super().read_metadata(*args, **kwargs)
        stream, keys = io.BytesIO((self._root / "keys").read_bytes()), set()
        while True:
            try:
                keys.add(pickle.load(stream))
            except (EOFError, pickle.UnpicklingError):
                break
        metadata.state_dict_metadata = {k: v for k, v in metadata.state_dict_metadata.items() if k in keys}
        return metadata


class _InPlaceWriter(control.Writer):
    """Every save of an id uses the same object names."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        self._save_id = "0" * 32


class _LateWriter(control.Writer):
    """The commit is an upload of its own, which nobody waits for."""

    def finish(self, metadata: Any, results: Any) -> None:
        def upload() -> None:
            time.sleep(0.4)
            control.Writer.finish(self, metadata, results)

        threading.Thread(target=upload, daemon=True).start()


commits_before_the_data_is_there = storage(breaks=["DUR-02"], writer=_EarlyWriter, reader=_Sparse)
believes_a_cut_index = storage(breaks=["DUR-03"], writer=_StreamWriter, reader=_StreamReader)
overwrites_in_place = storage(breaks=["DUR-04", "DUR-05", "CONC-01", "CONC-03"], writer=_InPlaceWriter)
commits_after_returning = storage(breaks=["DUR-01", "DUR-10"], writer=_LateWriter)
commits_without_the_dead = engine(breaks=["DUR-12"], writer=_EarlyWriter, reader=_Sparse)
hides_what_the_disk_answered = storage(breaks=["DUR-19"], writer=_SilentWriter)
