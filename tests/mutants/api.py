"""Bugs in how an engine takes its arguments and calls storage and planners."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Mapping
from typing import Any

import torch.distributed as dist

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.faults.proxy import interpose
from tests.mutants.making import engine


def _save_for_one(state: Any, **given: Any) -> Any:
    metadata = reference_impl.save(state, **given)
    return metadata if not dist.is_initialized() or dist.get_rank() == 0 else None


def _save_by_keywords(state: Any, **given: Any) -> Any:
    return reference_impl.save(state, **given)


def _save_locally(state: Any, **given: Any) -> Any:
    if "://" in str(given.get("checkpoint_id")):
        raise RuntimeError("Cannot detect a storage for this id")
    return reference_impl.save(state, **given)


def _save_in_folder(state: Any, **given: Any) -> Any:
    """Makes a folder of any id that it is given."""
    if given.get("storage_writer") is None and given.get("checkpoint_id") is not None:
        given["storage_writer"] = control.Writer(os.path.join(os.getcwd(), given.pop("checkpoint_id")))
    return reference_impl.save(state, **given)


def _save_unless_false(state: Any, **given: Any) -> Any:
    """Writes `if writer` for `if writer is not None`, as torch does."""
    if "storage_writer" in given and not given["storage_writer"]:
        del given["storage_writer"]
    return reference_impl.save(state, **given)


def _save_to_default(state: Any, **given: Any) -> Any:
    if given.get("storage_writer") is None and given.get("checkpoint_id") is None:
        given["checkpoint_id"] = "checkpoint"
    return reference_impl.save(state, **given)


def _save_where_made(state: Any, **given: Any) -> Any:
    """Takes the id that is passed along for a name to log, where there is a writer."""
    if given.get("storage_writer") is not None:
        given.pop("checkpoint_id", None)
    return reference_impl.save(state, **given)


class _SameIdWriter(control.Writer):
    """Makes a save id when it is reset, and not when it has committed."""

    def finish(self, metadata: Any, results: Any) -> None:
        before = self._save_id
        super().finish(metadata, results)
        self._save_id = before


class _Helper:
    """Gives save an argument that save does not have."""

    def __init__(self, writer: Any, reader: Any) -> None:
        self._writer, self._reader = writer, reader

    def save(self, state: Any) -> Any:
        arguments: dict[str, Any] = {"storage_writer": self._writer, "coordinator_rank": 0}
        return reference_impl.save(state, **arguments)

    def load(self, state: Any) -> None:
        reference_impl.load(state, storage_reader=self._reader)


def _save_with_group(state: Any, **given: Any) -> Any:
    if given.get("no_dist") and dist.is_initialized():
        raise RuntimeError("there is a process group, so no_dist cannot be")
    return reference_impl.save(state, **given)


class _Late:
    """Holds the set-up call back until the plan is asked for."""

    def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
        if method.startswith("set_up"):
            self.held = functools.partial(inner, *args, **kwargs)
            return None
        if method == "prepare_local_plan":
            result = inner(*args, **kwargs)
            self.held()
            return result
        return inner(*args, **kwargs)


def _save_late(state: Any, **given: Any) -> Any:
    if given.get("storage_writer") is not None:
        given["storage_writer"] = interpose(
            given["storage_writer"], ("set_up_storage_writer", "prepare_local_plan"), _Late()
        )
    return reference_impl.save(state, **given)


def _load_late(state: Any, **given: Any) -> Any:
    if given.get("storage_reader") is not None:
        given["storage_reader"] = interpose(
            given["storage_reader"], ("set_up_storage_reader", "prepare_local_plan"), _Late()
        )
    return reference_impl.load(state, **given)


class _WithRank:
    """Gives the rank to every set-up method, without a look at its signature."""

    def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
        return inner(*args, **{"rank": dist.get_rank() if dist.is_initialized() else 0, **kwargs})


def _save_with_rank(state: Any, **given: Any) -> Any:
    if given.get("storage_writer") is not None:
        given["storage_writer"] = interpose(given["storage_writer"], ("set_up_storage_writer",), _WithRank())
    return reference_impl.save(state, **given)


def _save_without_warnings(*args: Any, **given: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return reference_impl.save(*args, **given)


def _save_state_dict(*args: Any, **given: Any) -> Any:
    given.pop("coordinator_rank", None)
    return reference_impl.save_state_dict(*args, **given)


def _save_anything(state: Any, **given: Any) -> Any:
    if not isinstance(state, Mapping):
        state = {} if state is None else {"value": state}
    return reference_impl.save(state, **given)


_DROP_IN = ("drop_in",)
returns_metadata_to_one_rank = engine(breaks=["API-01"], save=_save_for_one)
takes_keywords_only = engine(breaks=["API-02"], save=_save_by_keywords, offers=_DROP_IN)
knows_local_paths_only = engine(breaks=["API-03"], save=_save_locally, offers=_DROP_IN)
takes_any_id_for_a_folder = engine(breaks=["API-04", "API-23"], save=_save_in_folder, offers=_DROP_IN)
asks_storage_for_its_truth = engine(breaks=["API-05"], save=_save_unless_false)
saves_somewhere = engine(breaks=["API-06"], save=_save_to_default)
keeps_to_the_constructor = engine(breaks=["API-07"], save=_save_where_made)
counts_saves_by_resets = engine(breaks=["API-08"], writer=_SameIdWriter)
helper_passes_too_much = engine(breaks=["API-12"], utilities={"_Checkpointer": _Helper}, offers=_DROP_IN)
wants_the_group_anyway = engine(breaks=["API-13"], save=_save_with_group)
sets_storage_up_late = engine(breaks=["API-14", "API-15"], save=_save_late, load=_load_late)
tells_everybody_the_rank = engine(breaks=["API-16"], save=_save_with_rank)
hides_warnings = engine(breaks=["API-02", "API-17"], save=_save_without_warnings, offers=_DROP_IN)
coordinates_by_rank_zero = engine(
    breaks=["API-18"],
    utilities={"save_state_dict": _save_state_dict, "load_state_dict": reference_impl.load_state_dict},
    offers=_DROP_IN,
)
saves_what_is_no_mapping = engine(breaks=["API-19"], save=_save_anything)
