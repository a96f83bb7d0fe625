"""Bugs in less usual ways to call: alone, with a group as well, through older storage, again after something else."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.faults.proxy import interpose
from tests.mutants.making import engine, storage


def _save_alone(state: Any, **given: Any) -> Any:
    """There is no metadata of the whole, so it has none to give."""
    metadata = reference_impl.save(state, **given)
    return metadata if given.get("use_collectives", True) else None


def _save_on_group(state: Any, **given: Any) -> Any:
    if given.get("process_group") is not None:
        given.pop("no_dist", None)
    return reference_impl.save(state, **given)


class _ByName:
    """Gives the rank to every set-up method that has a parameter of that name."""

    def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
        wants = "rank" in inspect.signature(inner).parameters
        return inner(*args, **({"rank": 0, "use_collectives": True} if wants else {}), **kwargs)


def _save_by_name(state: Any, **given: Any) -> Any:
    if given.get("storage_writer") is not None:
        given["storage_writer"] = interpose(given["storage_writer"], ("set_up_storage_writer",), _ByName())
    return reference_impl.save(state, **given)


def _save_empty(state: Any, **given: Any) -> Any:
    return reference_impl.save({} if isinstance(state, (list, tuple)) and not state else state, **given)


class _OneRankReader(control.Reader):
    """Keeps the rank whose metadata it was asked for once."""

    _rank: int | None = None

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        self._rank = kwargs.get("rank", self._rank)
        return super().read_metadata(rank=self._rank)


class _LabelledReader(control.Reader):
    """Makes the text of its errors when it is made."""

    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(checkpoint_id)
        self._label = f"there is no checkpoint in {os.path.basename(checkpoint_id)}"

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_metadata(*args, **kwargs)
        except FileNotFoundError:
            raise RuntimeError(self._label) from None


class _HomeReader(control.Reader):
    """Reads the data where the metadata says that it was written, as long as it is there."""

    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        home = Path(metadata.storage_meta.checkpoint_id)
        if all((home / name).exists() for name in self._names.values()):
            self._root = home


returns_nothing_when_alone = engine(breaks=["API-01"], save=_save_alone)
prefers_the_group_to_no_dist = engine(breaks=["PG-12"], save=_save_on_group)
tells_the_rank_by_name = engine(breaks=["API-16"], save=_save_by_name)
takes_empty_lists_for_states = engine(breaks=["API-19"], save=_save_empty)
sticks_to_a_rank = storage(breaks=["API-09"], reader=_OneRankReader)
names_its_first_id = storage(breaks=["LOG-06"], reader=_LabelledReader)
reads_where_it_was_saved = storage(breaks=["DET-03"], reader=_HomeReader)
