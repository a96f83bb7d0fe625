"""What can be told of a writer or reader callable without calling it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, StorageReader, StorageWriter

# Calls of the storage interface that a backend may inherit, by the base class that declares them.
_WRITER_METHODS = (
    "reset",
    "storage_meta",
    "set_up_storage_writer",
    "prepare_local_plan",
    "prepare_global_plan",
    "write_data",
    "finish",
    "validate_checkpoint_id",
)
_READER_METHODS = (
    "reset",
    "read_metadata",
    "set_up_storage_reader",
    "prepare_local_plan",
    "prepare_global_plan",
    "read_data",
    "validate_checkpoint_id",
)


# Arguments of torch's own functions that a backend's may lack.
_SAVE_ARGUMENTS = ("checkpoint_id", "storage_writer", "planner", "process_group", "no_dist", "use_collectives")
_ARGUMENTS = {
    "save": _SAVE_ARGUMENTS,
    "load": ("checkpoint_id", "storage_reader", "planner", "process_group", "no_dist"),
    "async_save": (*_SAVE_ARGUMENTS, "async_checkpointer_type", "async_stager"),
}


def constructor_problem(kind: str, maker: Callable[..., Any], options: Mapping[str, Any]) -> str | None:
    """Say why ``maker(checkpoint_id, **options)`` cannot work, or None when it can (or cannot be known)."""
    try:
        parameters = list(inspect.signature(maker).parameters.values())
    except (TypeError, ValueError):
        return None  # a native class without a signature: only calling it can tell
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    if not positional:
        return f"{kind} {_title(maker)} takes no positional argument; it must take the checkpoint id as its first."
    first = positional[0]
    needed = [
        p.name
        for p in parameters
        if p is not first and p.default is p.empty and p.name not in options
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if not needed:
        return None
    return (
        f"{kind} {_title(maker)} needs {', '.join(needed)} beside its first argument, the checkpoint id. Write a "
        "Backend record that passes them and give it in an attribute `backend`: "
        f"Backend(name=..., {kind.lower()}=lambda checkpoint_id, **options: {_title(maker)}(...), ...)."
    )


def unknown_options(maker: Callable[..., Any] | None, options: Mapping[str, Any]) -> str:
    """Return the options that a writer is known not to take, in words; empty where none is."""
    parameters = _parameters(maker) if maker is not None else None
    if parameters is None or any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
        return ""
    return ", ".join(repr(name) for name in options if name not in parameters)


def left_out(functions: Mapping[str, Callable[..., Any]]) -> tuple[str, ...]:
    """Say which of DCP's arguments a backend's own functions do not take: nothing is claimed about these."""
    notes = []
    for name, function in functions.items():
        parameters = _parameters(function)
        if parameters is None or any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
            continue
        lacking = [argument for argument in _ARGUMENTS[name] if argument not in parameters]
        if lacking:
            notes.append(f"its {name} takes no {', '.join(lacking)}: what is promised about these is not asked of it")
    return tuple(notes)


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None  # a native function without a signature: only calling it can tell


def takes_extensions(maker: Callable[..., Any] | None) -> bool:
    """Tell whether a writer class writes with torch's own write_data and lets extensions through to it."""
    made = made_class(maker)
    if made is None or getattr(made, "write_data", None) is not FileSystemWriter.write_data:
        return False
    parameters = inspect.signature(made).parameters.values()
    return any(p.name == "_extensions" or p.kind is p.VAR_KEYWORD for p in parameters)


def inherited_from_torch(writer: Callable[..., Any] | None, reader: Callable[..., Any] | None) -> tuple[str, ...]:
    """Return the storage methods that are torch's FileSystemWriter's or FileSystemReader's code, not the backend's."""
    pairs = (
        ("writer", writer, FileSystemWriter, _WRITER_METHODS),
        ("reader", reader, FileSystemReader, _READER_METHODS),
    )
    found = []
    for kind, maker, base, methods in pairs:
        made = made_class(maker)
        if made is None or made is base:
            continue
        lenders = set(base.__mro__) - set(StorageWriter.__mro__) - set(StorageReader.__mro__)
        found += [f"{kind}.{name}" for name in methods if _definer(made, name) in lenders]
    return tuple(found)


def missing_steps(writer: Callable[..., Any] | None, reader: Callable[..., Any] | None) -> str:
    """Say which step of DCP's interface the classes are known to lack, "no write_data" say; empty where none is."""
    for maker, step in ((writer, "write_data"), (writer, "finish"), (reader, "read_metadata"), (reader, "read_data")):
        made = made_class(maker)
        # A class that answers any name may have the step after all: only an object of it could tell.
        if made is not None and not hasattr(made, step) and not hasattr(made, "__getattr__"):
            return f"no {step}"
    return ""


def made_class(maker: Callable[..., Any] | None) -> type[Any] | None:
    """Return the class that a writer or reader callable makes, as far as that is known without calling it."""
    if isinstance(maker, functools.partial):
        return made_class(maker.func)
    if inspect.isclass(maker):
        return maker
    try:
        result = inspect.get_annotations(maker, eval_str=True).get("return") if inspect.isfunction(maker) else None
    except Exception:
        return None  # an annotation that cannot be evaluated says nothing
    return result if inspect.isclass(result) else None


def _definer(made: type[Any], name: str) -> type[Any] | None:
    return next((owner for owner in made.__mro__ if name in vars(owner)), None)


def _title(maker: Callable[..., Any]) -> str:
    return str(getattr(maker, "__qualname__", maker))
