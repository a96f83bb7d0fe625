"""The settings that a writer and a reader offer by their signature: which are tried, and which nobody certifies."""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.harness.backend.signatures import made_class

# Parameters of torch's FileSystemWriter that others take over with their meaning, each with values worth a try.
DOCUMENTED: Mapping[str, tuple[Any, ...]] = {"thread_count": (2, 4), "single_file_per_rank": (False,)}
# Its choice of a format, of which WRITE-07 tries each.
FORMAT = "serialization_format"
# What a check of its own is about: FIN-07.
_ELSEWHERE = ("overwrite",)


def other_formats(writer: Callable[..., Any] | None) -> tuple[enum.Enum, ...]:
    """Return the formats that a writer offers beside the one that it uses by default, where it offers them itself."""
    made = made_class(writer)
    if made is None or "__init__" not in vars(made):
        return ()  # an inherited parameter is not its offer
    default = getattr(_parameters(made).get(FORMAT), "default", None)
    return tuple(member for member in type(default) if member is not default) if isinstance(default, enum.Enum) else ()


def documented(writer: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of DOCUMENTED that a writer takes."""
    return tuple(name for name in DOCUMENTED if name in _parameters(writer))


def not_exercised(backend: Backend) -> tuple[str, ...]:
    """Say which settings of writer and reader are tried by nothing, so that no level says anything about them."""
    listed = {name for options in backend.option_sets for name in options}
    tried = {*backend.options, *listed, *(DOCUMENTED if len(backend.option_sets) < 2 else ())}
    if other_formats(backend.writer):
        tried.add(FORMAT)
    notes = []
    for kind, maker, known in (("writer", backend.writer, {*tried, *_ELSEWHERE}), ("reader", backend.reader, set())):
        names = [name for name in _offered(maker) if name not in known] if maker is not None else []
        if names:
            notes.append(
                f"its {kind} also takes {', '.join(names)}: not exercised, so nothing is certified about these"
            )
    return tuple(notes)


def _offered(maker: Callable[..., Any]) -> list[str]:
    """Return the parameters behind the id that a caller may leave out; those with an underscore are private."""
    bound = maker.keywords if isinstance(maker, functools.partial) else {}
    optional = [item for item in list(_parameters(maker).values())[1:] if item.default is not item.empty]
    return [item.name for item in optional if item.name not in bound and not item.name.startswith("_")]


def _parameters(maker: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(maker).parameters
    except (TypeError, ValueError):  # one in C says nothing of what it takes
        return {}
