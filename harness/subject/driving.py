"""An engine in a few lines, for checks of a storage pair alone: one process, torch's planners, the documented calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.distributed.checkpoint import DefaultLoadPlanner, DefaultSavePlanner, Metadata

from dcp_conformance.harness.subject.session import into_subject

NOTHING: Mapping[str, Any] = {}


def drive_save(
    writer: Any, state: dict[str, Any], *, planner: Any = None, extra: Mapping[str, Any] = NOTHING
) -> Metadata:
    """Save `state` through `writer` as the only rank. extra: keyword arguments for its set-up method."""
    # A planner that trips over a storage's answer is the storage's failure, so the whole drive counts as its code.
    found: Metadata = into_subject(_save, writer, state, DefaultSavePlanner() if planner is None else planner, extra)
    return found


def drive_load(
    reader: Any,
    target: dict[str, Any],
    *,
    planner: Any = None,
    extra: Mapping[str, Any] = NOTHING,
    asked: Mapping[str, Any] = NOTHING,
) -> Metadata:
    """Load into `target` through `reader` as the only rank, and return the metadata that it read.

    extra: keyword arguments for its set-up method; asked: for read_metadata.
    """
    planner = DefaultLoadPlanner() if planner is None else planner
    found: Metadata = into_subject(_load, reader, target, planner, extra, asked)
    return found


def _save(writer: Any, state: dict[str, Any], planner: Any, extra: Mapping[str, Any]) -> Any:
    # In the order of the contract; the one rank is its own coordinator, hence True.
    planner.set_up_planner(state, writer.storage_meta(), True)
    writer.set_up_storage_writer(True, **extra)
    plans, metadata = planner.create_global_plan([writer.prepare_local_plan(planner.create_local_plan())])
    [plan] = writer.prepare_global_plan(plans)
    results = writer.write_data(planner.finish_plan(plan), planner).wait()
    writer.finish(metadata, [results])
    return metadata


def _load(reader: Any, target: dict[str, Any], planner: Any, extra: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    metadata = reader.read_metadata(**asked)
    planner.set_up_planner(target, metadata, True)
    reader.set_up_storage_reader(metadata, True, **extra)
    plans = planner.create_global_plan([reader.prepare_local_plan(planner.create_local_plan())])
    [plan] = reader.prepare_global_plan(plans)
    reader.read_data(planner.finish_plan(plan), planner).wait()
    return metadata
