"""Loads in which each rank believes what it sees alone."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from dcp_conformance import reference_impl
from dcp_conformance.harness.faults.proxy import interpose
from tests.mutants.making import engine


class _Anonymous:
    """A tap that takes the id of the save from metadata."""

    def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
        metadata = inner(*args, **kwargs)
        return dataclasses.replace(metadata, storage_meta=None)


@functools.wraps(reference_impl.load)
def _unlike(state_dict: Any, *, storage_reader: Any, **kwargs: Any) -> Any:
    """Compares the keys, and not which save they are of."""
    reader = interpose(storage_reader, ("read_metadata",), _Anonymous())
    return reference_impl.load(state_dict, storage_reader=reader, **kwargs)


@functools.wraps(reference_impl.load)
def _each_alone(state_dict: Any, *, storage_reader: Any, no_dist: bool = False, **kwargs: Any) -> Any:
    """Lets each rank load by itself, and one that finds nothing go on without."""
    try:
        storage_reader.read_metadata()
    except (OSError, ValueError):
        return None
    kwargs.pop("process_group", None)
    return reference_impl.load(state_dict, storage_reader=storage_reader, no_dist=True, **kwargs)


loads_what_each_rank_sees = engine(breaks=["RES-24"], load=_unlike)
passes_over_ranks_that_see_nothing = engine(breaks=["RES-24", "CORR-08"], load=_each_alone)
