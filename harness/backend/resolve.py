"""From ``--backend=NAME`` to a Backend record: import it, choose its classes, describe what was found."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from dcp_conformance.harness.backend.capabilities import check_offers, check_unsupported
from dcp_conformance.harness.backend.description import Description
from dcp_conformance.harness.backend.locate import GROUP, Located, locate, module_spec
from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.harness.errors import UsageError

__all__ = ["GROUP", "Description", "Located", "describe", "from_module", "locate", "resolve"]

_TRACEBACK_LINES = 8


def resolve(name: str, options: Mapping[str, str], cwd: str) -> Backend:
    """Import the backend ``name`` and return its record; ``cwd`` goes to the end of sys.path.

    :param options: keyword arguments for the writer as typed (``--backend-option key=value``); numbers, booleans
        and members of an Enum are understood from the parameter's default.
    Raises UsageError when the name is unknown, the import fails, no pair can be told, a capability is unknown or
    an option does not exist.
    """
    # torch is imported only here, so that a mistyped name is refused before that second is spent.
    located = locate(name, cwd)
    _extend_path(located.search)
    module, notes = _import(located)
    backend = _with_handles_left_out(_record(located, module) or _plain(located, module))
    backend = dataclasses.replace(
        backend,
        name=backend.name.strip() or name,
        location=backend.location or located.origin,
        notes=(*backend.notes, *notes),
    )
    return _with_options(backend, options, name)


def from_module(module: ModuleType, reference: str, *, pair: str | None = None, **fields: Any) -> Backend:
    """Return the record of a module that knows nothing of this project.

    Its attributes ``UNSUPPORTED``, ``OFFERS`` and ``DEFAULT_PAIR`` are read, its own engine and utilities taken.

    :param pair: "WriterClass,ReaderClass" where the pair was named.
    :param fields: fields of the record that replace what was found.
    """
    from dcp_conformance.harness.backend import candidates, signatures

    chosen = candidates.named_pair(module, pair, reference) if pair else candidates.choose_pair(module, reference)
    engine, notes = candidates.engine(module, own_store=chosen is None)
    if chosen is None and not {"save", "load"} <= set(engine):
        raise UsageError("\n".join([candidates.no_pair(module, reference), *notes]))
    writer = getattr(module, chosen.writer) if chosen else None
    offers = set(check_offers(getattr(module, "OFFERS", ()), f"{module.__name__}.OFFERS"))
    if signatures.takes_extensions(writer):
        offers.add("extensions")
    found: dict[str, Any] = {
        "name": module.__name__ + (f":{pair}" if pair else ""),
        "version": _version(module),
        "writer": writer,
        "reader": getattr(module, chosen.reader) if chosen else None,
        **engine,
        "unsupported": check_unsupported(getattr(module, "UNSUPPORTED", {}), f"{module.__name__}.UNSUPPORTED"),
        "utilities": candidates.utilities(module, _utility_modules(module), has_engine=bool(engine)),
        "location": str(getattr(module, "__file__", None) or ""),
        "notes": tuple(notes),
        "plain": not hasattr(module, "UNSUPPORTED"),
    }
    found["offers"] = tuple(sorted(offers - set(found["unsupported"])))
    return Backend(**{**found, **fields})


def describe(backend: Backend, reference: str) -> Description:
    """Return the description of a record; imports torch, calls nothing of the backend."""
    import torch

    from dcp_conformance.harness.backend import identity, settings, signatures

    parts = (backend.writer, backend.reader, backend.save, backend.load, backend.async_save)
    functions = {name: getattr(backend, name) for name in backend.functions}
    files = identity.files_of(backend.location, [part for part in parts if part is not None])
    return Description(
        name=backend.name,
        reference=reference,
        version=backend.version,
        location=backend.location,
        commit=identity.commit_of(Path(backend.location)) if files else "",
        digest=identity.code_digest(files),
        letters=tuple(letter for letter in "SEPFU" if letter in backend.owned_letters),
        unsupported=dict(backend.unsupported),
        offers=backend.offers,
        exports=backend.exports,
        inherits=signatures.inherited_from_torch(backend.writer, backend.reader),
        torch=str(torch.__version__),
        patience=float(backend.patience),
        functions=backend.functions,
        notes=(*backend.notes, *signatures.left_out(functions), *settings.not_exercised(backend)),
    )


def _extend_path(folders: tuple[str, ...]) -> None:
    for folder in folders:
        if folder not in sys.path:
            sys.path.append(folder)
    importlib.invalidate_caches()


def _import(located: Located) -> tuple[ModuleType, tuple[str, ...]]:
    if located.kind == "file" and not _leads_to(located.module, located.origin):
        note = (
            f"{Path(located.origin).name} was loaded by its path, because another module is called "
            f"{located.module}: its objects cannot be pickled for another process"
        )
        return _guarded(located, lambda: _load_file(Path(located.origin))), (note,)
    return _guarded(located, lambda: importlib.import_module(located.module)), ()


def _leads_to(module: str, file: str) -> bool:
    loaded = sys.modules.get(module)
    spec = loaded.__spec__ if loaded is not None else module_spec(module)
    origin = spec.origin if spec is not None else None
    return origin is not None and Path(origin).exists() and Path(origin).samefile(file)


def _load_file(path: Path) -> ModuleType:
    name = f"dcp_conformance_backend_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _guarded(located: Located, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except UsageError:
        raise  # a Backend record that refused its own fields: already a sentence to the author
    except BaseException as error:
        # BaseException: a module that calls sys.exit or pytest.skip at import is broken too. Ctrl-C is none of this
        # process, which imports on behalf of another.
        raise UsageError(_broken(located, error)) from None


def _broken(located: Located, error: BaseException) -> str:
    lines = "".join(traceback.format_exception(type(error), error, _own_frames(error))).rstrip().splitlines()
    shown = lines if len(lines) <= _TRACEBACK_LINES else ["  ...", *lines[-_TRACEBACK_LINES:]]
    found = f"--backend={located.reference}: found ({located.origin}), but importing it"
    if isinstance(error, SystemExit):
        ended = f"{found} ended the program by SystemExit({error.code!r}). Keep what is to run behind `if __name__ == "
        return "\n".join([f'{ended}"__main__":`.', *shown])
    return "\n".join([f"{found} failed: {_summary(error)}", *shown])


def _summary(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}".strip().rstrip(":")
    except Exception:
        return f"{type(error).__name__} (it does not say what)"  # its __str__ raises


def _own_frames(error: BaseException) -> Any:
    """Return the traceback from the first frame that is neither ours nor the import system's."""
    step = error.__traceback__
    while step is not None and step.tb_frame.f_globals.get("__name__", "").startswith((__name__, "importlib")):
        step = step.tb_next
    return step if step is not None else error.__traceback__


def _record(located: Located, module: ModuleType) -> Backend | None:
    """Return the record that the name leads to, or None where the module is a plain one."""
    if located.attribute is None:
        return _attribute_record(module) or _conformance_record(located, module)
    if "," in located.attribute:
        return None
    value: Any = module
    for part in located.attribute.split("."):
        value = getattr(value, part, None)
    if isinstance(value, Backend):
        return value
    if isinstance(value, ModuleType):
        return _attribute_record(value) or from_module(value, located.reference)
    held = "nothing" if value is None else "no Backend record"
    near = difflib.get_close_matches(located.attribute, vars(module), n=2) if value is None else []
    raise UsageError(
        f"--backend={located.reference}: {located.module} holds {held} in {located.attribute!r}."
        + (f" Nearest names: {', '.join(near)}." if near else "")
        + f" Name a Backend record, or both classes: --backend={located.module}:WriterClass,ReaderClass"
    )


def _attribute_record(module: ModuleType) -> Backend | None:
    value = getattr(module, "backend", None)
    return value if isinstance(value, Backend) else None


def _conformance_record(located: Located, module: ModuleType) -> Backend | None:
    name = f"{module.__name__}.conformance"
    if not hasattr(module, "__path__") or module_spec(name) is None:
        return None
    return _attribute_record(_guarded(located, lambda: importlib.import_module(name)))


def _plain(located: Located, module: ModuleType) -> Backend:
    return from_module(module, located.reference, pair=located.attribute)


def _utility_modules(module: ModuleType) -> list[ModuleType]:
    """Return the modules where converters may be: torch keeps them in a submodule, and others may as well."""
    name = f"{module.__name__}.format_utils"
    if not hasattr(module, "__path__") or module_spec(name) is None:
        return []
    return [importlib.import_module(name)]


def _version(module: ModuleType) -> str:
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    for holder in (module, top):
        version = getattr(holder, "__version__", None)
        if isinstance(version, str):
            return str(version)
    try:
        return importlib.metadata.version(top.__name__.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # a module of its own, never packaged


def _with_handles_left_out(backend: Backend) -> Backend:
    """Leave out handles that are no DCP storage: such an engine has a store of its own and is called with ids."""
    from dcp_conformance.harness.backend import signatures

    if backend.save is None or backend.load is None:
        return backend
    lacking = signatures.missing_steps(backend.writer, backend.reader)
    if not lacking:
        return backend
    note = f"its writer and reader are no DCP storage ({lacking}): it is judged as an engine with a store of its own"
    return dataclasses.replace(backend, writer=None, reader=None, notes=(*backend.notes, note))


def _with_options(backend: Backend, options: Mapping[str, str], reference: str) -> Backend:
    from dcp_conformance.harness.backend import signatures
    from dcp_conformance.harness.backend.writer_settings import parse_options

    values = parse_options(backend.writer, options, reference)
    for kind, maker, given in (("Writer", backend.writer, values), ("Reader", backend.reader, {})):
        problem = signatures.constructor_problem(kind, maker, given) if maker is not None else None
        if problem:
            raise UsageError(f"--backend={reference}: {problem}")
    for options_of_set in backend.option_sets:
        unknown = signatures.unknown_options(backend.writer, options_of_set)
        if unknown:
            raise UsageError(f"--backend={reference}: its option_sets name {unknown}, which its writer does not take.")
    if not values or backend.writer is None:
        return backend
    return dataclasses.replace(backend, writer=functools.partial(backend.writer, **values), options=values)
