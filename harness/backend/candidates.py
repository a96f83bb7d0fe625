"""What a plain module offers: its writer and reader classes, its engine, its planners and utilities."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch.distributed.checkpoint import StorageReader, StorageWriter

from dcp_conformance.harness.backend.record import PLANNERS, UTILITIES
from dcp_conformance.harness.errors import UsageError

_ENGINE_KEYWORD = {"save": "storage_writer", "load": "storage_reader", "async_save": "storage_writer"}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A writer and a reader class, by the names under which the module holds them."""

    writer: str
    reader: str

    def line(self, module: str) -> str:
        return f"--backend={module}:{self.writer},{self.reader}"


def exported(module: ModuleType) -> dict[str, Any]:
    """Return what a module exports: ``__all__``, or else the public names defined in it or in its package."""
    names = getattr(module, "__all__", None)
    if names is not None:
        return {name: getattr(module, name) for name in names if hasattr(module, name)}
    return {name: value for name, value in _public(module).items() if is_own(module, value)}


def is_own(module: ModuleType, value: object) -> bool:
    """Tell whether a class or function was defined in the module or its package, not imported into it."""
    home = getattr(value, "__module__", None)
    return isinstance(home, str) and (home == module.__name__ or home.startswith(module.__name__ + "."))


def choose_pair(module: ModuleType, name: str) -> Pair | None:
    """Return the pair to test, or None where the module has neither writers nor readers.

    ``Writer`` and ``Reader`` win, wherever they were made, then the module's
    ``DEFAULT_PAIR = ("WriterClass", "ReaderClass")``, then one of each. Anything else raises UsageError, which
    lists the candidates and the line that names a pair.
    """
    offered = _offered(module)
    if "Writer" in _concrete(offered, StorageWriter) and "Reader" in _concrete(offered, StorageReader):
        return Pair(writer="Writer", reader="Reader")
    writers, readers = _concrete(exported(module), StorageWriter), _concrete(exported(module), StorageReader)
    default = getattr(module, "DEFAULT_PAIR", None)
    if default is not None:
        return _default_pair(module, default, name)
    if len(set(writers.values())) == 1 and len(set(readers.values())) == 1:
        return Pair(writer=next(iter(writers)), reader=next(iter(readers)))
    if not writers and not readers:
        return None
    raise UsageError(_undecided(module, name, list(writers), list(readers)))


def named_pair(module: ModuleType, names: str, reference: str) -> Pair:
    """Return the pair ``Writer,Reader`` that was asked for by name; UsageError when it is not one."""
    writer, _, reader = names.partition(",")
    for name, base in ((writer, StorageWriter), (reader, StorageReader)):
        value = getattr(module, name, None)
        if value is None:
            known = [*_concrete(_public(module), StorageWriter), *_concrete(_public(module), StorageReader)]
            raise UsageError(
                f"--backend={reference}: {module.__name__} has no {name!r}."
                f" Storage classes there: {', '.join(known) or 'none'}."
            )
        if not (inspect.isclass(value) and issubclass(value, base)):
            raise UsageError(
                f"--backend={reference}: {name} is not a {base.__name__} class."
                " The line is --backend=module:WriterClass,ReaderClass, the writer first."
            )
        if inspect.isabstract(value):
            raise UsageError(f"--backend={reference}: {_abstract(name, value)}.")
    return Pair(writer=writer, reader=reader)


def no_pair(module: ModuleType, reference: str) -> str:
    """Return the message for a module in which nothing can be tested: what is there, and what to do."""
    place = getattr(module, "__file__", None) or "no file"
    lines = [
        f"--backend={reference}: nothing to test in {module.__name__} ({place}): "
        "it exports no StorageWriter and StorageReader, and no save and load."
    ]
    public = _public(module)
    lines += [f"  - {_abstract(*item)}" for item in _classes(public) if inspect.isabstract(item[1])]
    found = {base: list(_concrete(public, base)) for base in (StorageWriter, StorageReader)}
    if any(found.values()):
        names = ", ".join(found[StorageWriter] + found[StorageReader])
        lines.append(f"  - imported from elsewhere, so not taken without being named: {names}")
    if all(found.values()):
        pair = _likely(found[StorageWriter], found[StorageReader])
        lines.append(f"To test these, name them: {pair.line(module.__name__)}")
    lines += [f"  - {line}" for line in _oddities(module)]
    if not any(found.values()):
        lines.append("Name the module that holds the classes, or give it a Backend record in an attribute `backend`.")
    return "\n".join(lines)


def _oddities(module: ModuleType) -> list[str]:
    """Say what stands under a name that would be looked at, and is not what it is called."""
    lines = []
    record = getattr(module, "backend", None)
    if record is not None and not inspect.ismodule(record):
        lines.append(f"its attribute `backend` is {_kind(record)}, and no Backend record")
    functions = {name: getattr(module, name) for name in _ENGINE_KEYWORD if hasattr(module, name)}
    lines += [
        f"its {name} is {_kind(value)}, and no function" for name, value in functions.items() if not callable(value)
    ]
    if ("save" in functions) != ("load" in functions):
        there, missing = ("save", "load") if "save" in functions else ("load", "save")
        lines.append(f"it has {there}, and no {missing}: an engine needs both")
    return lines


def _kind(value: object) -> str:
    if inspect.isclass(value):
        return "a class"
    name = type(value).__name__
    return f"text (a {name})" if isinstance(value, str) else f"a {name}"


def engine(module: ModuleType, *, own_store: bool) -> tuple[dict[str, Callable[..., Any]], list[str]]:
    """Return the ``save``, ``load`` and ``async_save`` that can be called as DCP's, and notes on others.

    Without ``__all__`` one that was imported or made elsewhere counts too: a module that has a ``save`` beside its
    writer means it, and to test torch's in its place would certify something else.

    :param own_store: the module has no writer and reader, so its functions take only a checkpoint id.
    """
    functions: dict[str, Callable[..., Any]] = {}
    notes = []
    everything = _offered(module)
    for name, keyword in _ENGINE_KEYWORD.items():
        value = everything.get(name)
        if value is None or not callable(value) or not _brings(module, value):
            continue
        if inspect.iscoroutinefunction(value):
            notes.append(f"its {name} is `async def`: DCP calls it without await, so it is not taken as its engine")
            continue
        missing = _missing_keywords(value, ["checkpoint_id"] if own_store else ["checkpoint_id", keyword])
        if missing:
            notes.append(f"{name} is exported, but is not DCP's: it takes no {' and no '.join(missing)}")
        else:
            functions[name] = value
    return functions, notes


def utilities(module: ModuleType, extra: Iterable[ModuleType] = (), *, has_engine: bool = False) -> dict[str, Any]:
    """Return planners and utilities that the module (or ``extra`` modules of its package) supplies as torch does.

    :param has_engine: the module has an engine, so that planners beside it are that engine's, wherever they were made.
    """
    found: dict[str, Any] = {}
    for source in (module, *extra):
        names = _offered(source) if has_engine and source is module else exported(source)
        found |= {name: names[name] for name in names if name in PLANNERS | UTILITIES and _brings(module, names[name])}
    return found


def _offered(module: ModuleType) -> dict[str, Any]:
    return exported(module) if hasattr(module, "__all__") else _public(module)


def _brings(module: ModuleType, value: object) -> bool:
    """Return a module's own code, or another package's that it exports on purpose.

    Torch's own is nobody else's engine.
    """
    home = str(getattr(value, "__module__", ""))
    return is_own(module, value) or not home.startswith("torch.")


def _missing_keywords(function: Callable[..., Any], wanted: list[str]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return []  # a native function without a signature: the clauses will tell
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return []
    return [name for name in wanted if name not in parameters]


def _public(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


def _classes(names: Mapping[str, Any]) -> list[tuple[str, type[Any]]]:
    bases = (StorageWriter, StorageReader)
    return [(n, v) for n, v in names.items() if inspect.isclass(v) and issubclass(v, bases) and v not in bases]


def _concrete(names: Mapping[str, Any], base: type[Any]) -> dict[str, type[Any]]:
    return {n: v for n, v in _classes(names) if issubclass(v, base) and not inspect.isabstract(v)}


def _default_pair(module: ModuleType, default: object, name: str) -> Pair:
    if not isinstance(default, (tuple, list)) or len(default) != 2 or not all(isinstance(n, str) for n in default):
        raise UsageError(
            f"--backend={name}: {module.__name__}.DEFAULT_PAIR must hold the names of two classes, "
            f'for example ("MyWriter", "MyReader"); it is {default!r}.'
        )
    return named_pair(module, ",".join(default), name)


def _undecided(module: ModuleType, name: str, writers: list[str], readers: list[str]) -> str:
    lines = [
        f"--backend={name}: it is not clear which classes of {module.__name__} to test.",
        f"  writers: {', '.join(writers) or 'none'}",
        f"  readers: {', '.join(readers) or 'none'}",
    ]
    public = _public(module)
    lines += [f"  - {_abstract(*item)}" for item in _classes(public) if inspect.isabstract(item[1])]
    more_writers, more_readers = list(_concrete(public, StorageWriter)), list(_concrete(public, StorageReader))
    guess_writers, guess_readers = writers or more_writers, readers or more_readers
    if guess_writers and guess_readers:
        pair = _likely(guess_writers, guess_readers)
        lines.append(f"Name the pair: {pair.line(module.__name__)}")
    else:
        known = Pair(writer=(writers or ["WriterClass"])[0], reader=(readers or ["ReaderClass"])[0])
        missing = "reader" if writers else "writer"
        lines.append(f"It has no {missing}. Name a pair that {module.__name__} holds: {known.line(module.__name__)}")
    return "\n".join(lines)


def _likely(writers: list[str], readers: list[str]) -> Pair:
    """Return two classes whose names differ only in Writer and Reader; the first of each if there are none."""
    for writer in writers:
        for reader in readers:
            if writer.replace("Writer", "Reader") == reader:
                return Pair(writer=writer, reader=reader)
    return Pair(writer=writers[0], reader=readers[0])


def _abstract(name: str, value: type[Any]) -> str:
    missing = sorted(getattr(value, "__abstractmethods__", ()))
    return f"{name} is abstract: it does not define {', '.join(missing)}"
