"""Bugs in what a load does about keys that are missing or left over."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys

from dcp_conformance import reference_impl
from dcp_conformance.harness.backend.record import Backend
from tests.mutants.making import engine, storage


def loading(planner: Any, *, breaks: Sequence[str], **fields: Any) -> Backend:
    """The reference's engine with another load planner, as its default and by torch's name."""

    def load(state_dict: Any, **options: Any) -> None:
        options["planner"] = options.get("planner") or planner()
        reference_impl.load(state_dict, **options)

    utilities = {"DefaultSavePlanner": reference_impl.DefaultSavePlanner, "DefaultLoadPlanner": planner}
    return engine(breaks=breaks, **{"load": load, "utilities": utilities, **fields})


class _Lenient(reference_impl.DefaultLoadPlanner):
    """Allows partial loads always."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "allow_partial_load": True})


class _Vague(reference_impl.DefaultLoadPlanner):
    """Says that something is wrong, not what."""

    def create_local_plan(self) -> Any:
        try:
            return super().create_local_plan()
        except RuntimeError:
            raise RuntimeError("the checkpoint does not fit the state dict") from None


class _FirstOnly(reference_impl.DefaultLoadPlanner):
    """Stops at the first key that is missing."""

    def create_local_plan(self) -> Any:
        assert self.metadata is not None
        for name in self.state_dict:
            if name not in self.metadata.state_dict_metadata and not self.allow_partial_load:
                raise RuntimeError(f"Missing key: {name}")
        return super().create_local_plan()


class _CoordinatorStrict(reference_impl.DefaultLoadPlanner):
    """Checks the keys of the coordinator, and believes that all ranks have the same."""

    def create_local_plan(self) -> Any:
        self.allow_partial_load = self.allow_partial_load or not self.is_coordinator
        return super().create_local_plan()


class _StopsEarly(reference_impl.DefaultLoadPlanner):
    """Leaves the loop at the first key that may be missing."""

    def create_local_plan(self) -> Any:
        assert self.metadata is not None
        plan = super().create_local_plan()
        if self.allow_partial_load:
            names = list(self.state_dict)
            missing = [name for name in names if name not in self.metadata.state_dict_metadata]
            kept = names[: names.index(missing[0])] if missing else names
            plan.items = [item for item in plan.items if item.dest_index.fqn in kept]
        return plan


class _Clearing(reference_impl.DefaultLoadPlanner):
    """Makes room in the template before it knows what will be loaded."""

    def create_local_plan(self) -> Any:
        for name, value in list(self.state_dict.items()):
            if not isinstance(value, torch.Tensor):
                self._put(name, None)
        return super().create_local_plan()


class _Greedy(reference_impl.DefaultLoadPlanner):
    """Loads every tensor that is stored, in case it is needed later."""

    def set_up_planner(self, state_dict: Any, metadata: Any = None, is_coordinator: bool = False) -> None:
        super().set_up_planner(state_dict, metadata, is_coordinator)
        for name, entry in metadata.state_dict_metadata.items():
            if name not in self.state_dict and isinstance(entry, TensorStorageMetadata):
                self.state_dict[name] = torch.empty(entry.size, dtype=entry.properties.dtype)


class _StrictBothWays(reference_impl.DefaultLoadPlanner):
    """Wants the template to have exactly the stored keys."""

    def create_local_plan(self) -> Any:
        assert self.metadata is not None
        left_over = self.metadata.state_dict_metadata.keys() - self.state_dict.keys()
        if left_over and not self.allow_partial_load:
            raise RuntimeError(f"Unexpected keys in checkpoint: {sorted(left_over)}")
        return super().create_local_plan()


def _silently(state_dict: Any, **options: Any) -> None:
    logger = logging.getLogger("reference_impl")
    logger.disabled = True
    try:
        reference_impl.load(state_dict, **options)
    finally:
        logger.disabled = False


def _by_prefix(keys: Any = None, *, storage_reader: Any, **options: Any) -> Any:
    stored = storage_reader.read_metadata().state_dict_metadata
    wanted = {name for name in stored if keys is None or any(name.startswith(key) for key in keys)}
    return _load_state_dict_from_keys(wanted, storage_reader=storage_reader, **options)


ignores_missing_keys = loading(_Lenient, breaks=["PART-01", "PART-08"])
names_no_missing_key = loading(_Vague, breaks=["PART-01"])
names_first_missing_key = loading(_FirstOnly, breaks=["PART-09"])
fails_ranks_alone = loading(_CoordinatorStrict, breaks=["PART-06"])
passes_over_all_after_a_missing_key = loading(_StopsEarly, breaks=["PART-02"])
clears_what_it_passes_over = loading(_Clearing, breaks=["PART-05", "INPL-07"])
reads_all_keys = loading(_Greedy, breaks=["PART-03"])
refuses_left_over_keys = loading(_StrictBothWays, breaks=["PART-03", "PART-08"])
is_silent_about_keys = engine(breaks=["PART-04", "INPL-11"], load=_silently)
takes_keys_for_prefixes = storage(
    breaks=["PART-07"], offers=("drop_in",), utilities={"_load_state_dict_from_keys": _by_prefix}
)
