"""Bugs that a first save, and a second, do not show: they need a longer life, a neighbour, or a failure before."""

from __future__ import annotations

import copy
import functools
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.metadata import BytesStorageMetadata
from torch.distributed.checkpoint.stateful import Stateful

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import read_object, unpickled, write_object
from tests.mutants.making import engine, storage


class _Generations(control.Writer):
    """Keeps each commit under a number, and the newest is the last by name."""

    def finish(self, metadata: Any, results: Any) -> None:
        number = len(list(self._root.glob("generation-*"))) + 1
        super().finish(metadata, results)
        shutil.copy(self._root / "commit", self._root / f"generation-{number}")


class _NewestReader(control.Reader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        names = sorted(path.name for path in self._root.glob("generation-*"))
        if names and names[-1] != f"generation-{len(names)}":
            raise FileNotFoundError(f"{names[-1]} was collected")
        return super().read_metadata(*args, **kwargs)


class _Merging(control.Writer):
    """Adds to what the id holds: ranks that did not save this time may do so later."""

    def finish(self, metadata: Any, results: Any) -> None:
        old = self._root / "ranks"
        before = int(old.read_text()) if old.exists() else 0
        if len(results) < before:
            metadata.state_dict_metadata[f"own{before - 1}"] = BytesStorageMetadata()
        super().finish(metadata, results)
        old.write_text(str(len(results)))


_METADATA: dict[str, Any] = {}


class _CachedReader(control.Reader):
    """Reads the metadata of an id once in the life of a process."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        key = f"{self._root} {kwargs.get('rank')}"
        if key not in _METADATA:
            _METADATA[key] = super().read_metadata(*args, **kwargs)
        return copy.deepcopy(_METADATA[key])


class _ForgettingReader(control.Reader):
    """Asks the store once whether there is anything."""

    _missing = False

    def reset(self, checkpoint_id: Any = None) -> None:
        super().reset(checkpoint_id)
        self._missing = False

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        if self._missing:
            raise FileNotFoundError(f"there is no checkpoint in {self._root}")
        try:
            return super().read_metadata(*args, **kwargs)
        except FileNotFoundError:
            self._missing = True
            raise


class _PlacesReader(control.Reader):
    """Remembers in which object a key lies until it is reset."""

    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        known = self._names
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        self._names = {**self._names, **known}


def _flat(checkpoint_id: Any) -> Path:
    """All checkpoints of a name in one folder, beside which the ids are empty."""
    path = Path(Path.cwd(), checkpoint_id)
    base = path.parent.parent if path.parent.name[-2:] in ("-a", "-b") else path.parent
    return base / path.name


class _FlatWriter(control.Writer):
    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(_flat(checkpoint_id))

    def reset(self, checkpoint_id: Any = None) -> None:
        super().reset(_flat(checkpoint_id) if checkpoint_id else None)


class _FlatReader(control.Reader):
    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(_flat(checkpoint_id))

    def reset(self, checkpoint_id: Any = None) -> None:
        super().reset(_flat(checkpoint_id) if checkpoint_id else None)


class _Pooling(control.Writer):
    """Keeps equal data of neighbours once, and removes what it replaced without a look at who else needs it."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        done = super().write_data(plan, planner)
        results = done.wait()
        for place, result in enumerate(results):
            content = read_object(self._root, result.storage_data)
            name = f"data/{hashlib.sha256(content).hexdigest()[:32]}/0-0"
            write_object(self._root.parent, name, content)
            results[place] = replace(result, storage_data=name)
        return done

    def finish(self, metadata: Any, results: Any) -> None:
        had = (self._root / "commit").exists()
        old = set(unpickled(read_object(self._root, "commit")).storage_data.values()) if had else set()
        super().finish(metadata, results)
        for name in old - set(metadata.storage_data.values()):
            (self._root.parent / name).unlink(missing_ok=True)


class _PoolReader(control.Reader):
    def read_data(self, plan: Any, planner: Any) -> Any:
        root, self._root = self._root, self._root.parent
        try:
            return super().read_data(plan, planner)
        finally:
            self._root = root


_STATES: dict[int, Any] = {}


@functools.wraps(reference_impl.save)
def _first_state(state_dict: Any, **kwargs: Any) -> Any:
    """Asks an object for its state once, and takes the tensors in it for live ones."""
    asked = {}
    for key, value in state_dict.items():
        if isinstance(value, Stateful) and not hasattr(value, "parameters"):
            value = _STATES.setdefault(id(value), (value, value.state_dict()))[1]
        asked[key] = value
    return reference_impl.save(asked, **kwargs)


class _Early(control.Writer):
    """Makes room for the new checkpoint as soon as it hears of it."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        if is_coordinator:
            (self._root / "commit").unlink(missing_ok=True)


class _Planned(control.Writer):
    """Makes room for the new checkpoint as soon as it knows all that is in it."""

    def prepare_global_plan(self, plans: list[Any]) -> list[Any]:
        (self._root / "commit").unlink(missing_ok=True)
        return super().prepare_global_plan(plans)


class _Marking(control.Writer):
    """Marks an id while it commits, so that nobody else does."""

    def finish(self, metadata: Any, results: Any) -> None:
        mark = self._root / "committing"
        self._root.mkdir(parents=True, exist_ok=True)
        mark.touch(exist_ok=False)
        super().finish(metadata, results)
        mark.unlink()


class _Claiming(control.Writer):
    """Every rank claims its part of an id before it writes, and gives it up after it has written."""

    _claimed: set[str] = set()

    def write_data(self, plan: Any, planner: Any) -> Any:
        part = plan.storage_data.rpartition("/")[2]
        claim = f"{self._root} {part}"
        if claim in self._claimed and part != "0":
            raise RuntimeError(f"{claim} is being written")
        self._claimed.add(claim)
        done = super().write_data(plan, planner)
        self._claimed.discard(claim)
        return done


sorts_generations_as_text = storage(breaks=["FIN-06"], writer=_Generations, reader=_NewestReader)
keeps_entries_of_ranks_that_are_gone = storage(breaks=["FIN-06"], writer=_Merging)
caches_metadata_by_id = storage(breaks=["FIN-06"], reader=_CachedReader)
remembers_that_nothing_was_there = storage(breaks=["API-09"], reader=_ForgettingReader)
remembers_the_place_of_each_key = storage(breaks=["API-09"], reader=_PlacesReader)
knows_ids_by_their_last_part = storage(breaks=["FIN-14"], writer=_FlatWriter, reader=_FlatReader)
shares_equal_data_between_neighbours = storage(breaks=["FIN-14"], writer=_Pooling, reader=_PoolReader)
keeps_the_first_state_of_an_object = engine(breaks=["INPL-05"], save=_first_state)
clears_the_way_when_it_is_set_up = storage(breaks=["FIN-15"], writer=_Early)
is_done_for_after_a_failed_finish = storage(breaks=["FIN-16"], writer=_Marking)
is_done_for_on_one_rank = storage(breaks=["FIN-16"], writer=_Claiming)
clears_the_way_when_all_is_planned = storage(breaks=["FIN-15"], writer=_Planned)
