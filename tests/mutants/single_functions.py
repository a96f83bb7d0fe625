"""Modules that export one function of the engine and leave the others to torch: the one that they export is broken."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import default_planner

from dcp_conformance.harness import control
from tests.mutants.making import storage

# The control pair under torch's engine can be saved to by a background thread, and not by a process.
_UNSUPPORTED = {**control.UNSUPPORTED, "async_process": "its async_save is a thread"}


@functools.wraps(dcp.async_save)
def _later(state_dict: Any, **kwargs: Any) -> Any:
    """Stages nothing: the thread saves what the caller has made of the state by then."""
    for of_staging in ("async_checkpointer_type", "async_stager"):
        kwargs.pop(of_staging, None)
    future: Future[Any] = Future()

    def upload() -> None:
        time.sleep(0.05)
        try:
            future.set_result(dcp.save(state_dict, **kwargs))
        except BaseException as error:  # whatever it is belongs into the future
            future.set_exception(error)

    threading.Thread(target=upload).start()
    return future


@functools.wraps(dcp.load)
def _beside(state_dict: dict[str, Any], **kwargs: Any) -> None:
    """Loads into copies and puts these in the place of the caller's tensors."""
    copies = {
        key: value.clone() if type(value) is torch.Tensor and not value.is_meta else value
        for key, value in state_dict.items()
    }
    dcp.load(copies, **kwargs)
    state_dict.update(copies)


@functools.wraps(dcp.save)
def _all_but_last(state_dict: dict[str, Any], **kwargs: Any) -> Any:
    """Takes the last of several keys for a mark of the end."""
    return dcp.save(dict(list(state_dict.items())[:-1] if len(state_dict) > 1 else state_dict), **kwargs)


@functools.wraps(dcp.load)
def _alone(state_dict: Any, **kwargs: Any) -> None:
    """Takes a failure of another rank for none of its business."""
    try:
        dcp.load(state_dict, **kwargs)
    except dcp.CheckpointException as error:
        if not torch.distributed.is_initialized() or torch.distributed.get_rank() in error.failures:
            raise


class _ByBeginning(default_planner.DefaultLoadPlanner):
    """A key counts as stored where anything stored begins with it: it may be a container."""

    def create_local_plan(self) -> Any:
        assert self.metadata is not None
        stored = self.metadata.state_dict_metadata
        missing = [key for key in self.state_dict if key not in stored]
        lenient = all(any(name.startswith(key) for name in stored) for key in missing)
        self.allow_partial_load = self.allow_partial_load or (bool(missing) and lenient)
        return super().create_local_plan()


def _only(*, breaks: Sequence[str], **function: Any) -> Any:
    return storage(breaks=breaks, unsupported=_UNSUPPORTED, **function)


saves_the_live_state_later = _only(breaks=["ASYNC-02"], async_save=_later)
loads_into_tensors_of_its_own = _only(breaks=["INPL-01"], load=_beside)
saves_all_but_the_last_key = _only(breaks=["TYPE-02"], save=_all_but_last)
raises_failures_of_its_own_rank_only = _only(breaks=["FAIL-16"], load=_alone)
# Neither save nor load is its own: its planners are what torch's are to use.
finds_keys_by_their_beginning = storage(
    breaks=["PART-01"],
    utilities={"DefaultSavePlanner": default_planner.DefaultSavePlanner, "DefaultLoadPlanner": _ByBeginning},
)
