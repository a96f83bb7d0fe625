"""Calls to planners and storages of others, with the arguments that their signatures take."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from dcp_conformance.reference_impl.interchange import (
    Metadata,
    SavePlanner,
    StateDict,
    StorageMeta,
    StorageReader,
    StorageWriter,
)

P = ParamSpec("P")
R = TypeVar("R")


def takes(function: Callable[..., Any], parameter: str) -> bool:
    """Tell whether a function has a parameter of this name (``**kwargs`` counts under the name ``kwargs``)."""
    try:
        return parameter in inspect.signature(function).parameters
    except (TypeError, ValueError):  # no signature to be had, as of some callables in C
        return False


def set_up_writer(writer: StorageWriter, *, is_coordinator: bool, rank: int, use_collectives: bool) -> None:
    """Give a writer its role; rank and mode only where it takes keyword arguments."""
    # By this very name, as torch looks for it: a writer that spells it `**kw` gets no rank there either.
    if takes(writer.set_up_storage_writer, "kwargs"):
        writer.set_up_storage_writer(is_coordinator, rank=rank, use_collectives=use_collectives)
    else:
        writer.set_up_storage_writer(is_coordinator)


def set_up_reader(
    reader: StorageReader, metadata: Metadata, *, is_coordinator: bool, rank: int, use_collectives: bool
) -> None:
    """Give a reader its role; rank and mode only where it takes keyword arguments."""
    if takes(reader.set_up_storage_reader, "kwargs"):
        reader.set_up_storage_reader(metadata, is_coordinator, rank=rank, use_collectives=use_collectives)
    else:
        reader.set_up_storage_reader(metadata, is_coordinator)


def set_up_save_planner(
    planner: SavePlanner, state_dict: StateDict, storage_meta: StorageMeta | None, is_coordinator: bool
) -> None:
    """Bind a planner to a state dict; older ones do not take ``storage_meta``, and are warned about."""
    if takes(planner.set_up_planner, "storage_meta"):
        planner.set_up_planner(state_dict=state_dict, storage_meta=storage_meta, is_coordinator=is_coordinator)
        return
    warnings.warn("set_up_planner of a SavePlanner should take the parameter storage_meta", stacklevel=2)
    planner.set_up_planner(state_dict, is_coordinator)  # type: ignore[arg-type]


def second_positional(keyword: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take ``keyword`` as its second positional argument too, as torch once had it, with a warning."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            if len(args) == 2:
                warnings.warn(f"pass {keyword} to {function.__name__} by keyword", stacklevel=2)
                kwargs[keyword] = args[1]
                return function(args[0], **kwargs)  # type: ignore[arg-type]
            return function(*args, **kwargs)

        return wrapper

    return decorate
