"""Where a backend's name leads, found without importing it: neither torch nor any package is loaded here."""

from __future__ import annotations

import difflib
import importlib.metadata
import keyword
import os
import pkgutil
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint
from pathlib import Path

from dcp_conformance import HOME
from dcp_conformance.harness.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DISTRIBUTION = "dcp-conformance"
GROUP = "dcp_conformance.backends"

_ATTRIBUTE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(,[^\W\d]\w*)?")


@dataclass(frozen=True, kw_only=True)
class Located:
    """What ``--backend=NAME`` means, before anything of it was imported."""

    reference: str  # as typed
    kind: str  # "entry point", "module" or "file"
    module: str  # dotted name to import; of a file, the name under which it would be importable
    attribute: str | None  # "backend", "Writer,Reader" or None
    origin: str  # the file, or the entry point in words
    search: tuple[str, ...]  # folders to put at the END of sys.path


def locate(name: str, cwd: str) -> Located:
    """Find what ``name`` means, by static search only.

    The order is: an entry point of the group ``dcp_conformance.backends``; a path to a ``.py`` file; a module on
    sys.path or, last, in ``cwd``; the latter two with ``:attribute`` or ``:WriterClass,ReaderClass`` behind them.
    Raises UsageError for an unknown name, with everything that was tried and the nearest names.
    """
    if not name.strip():
        raise UsageError(f"--backend is empty. {_FORMS}")
    return _entry_point(name, cwd) or _named(name, cwd)


def module_spec(dotted: str, search: Sequence[str] = ()) -> ModuleSpec | None:
    """Return the spec of a module without importing it or any of its parents; None when it is not there."""
    first, *rest = dotted.split(".")
    spec = _top_level(first, search)
    for index, part in enumerate(rest):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = _child(".".join([first, *rest[: index + 1]]), part, list(spec.submodule_search_locations))
    return spec


def file_module(path: Path) -> tuple[str, str]:
    """Return (dotted name, folder for sys.path) under which a file is importable, its packages included."""
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), str(folder)


_FORMS = (
    "A backend is given as an importable module (mypkg or mypkg.storage), module:attribute, "
    "module:WriterClass,ReaderClass, path/to/file.py, or the name of an entry point in the group " + GROUP + "."
)


def _entry_point(name: str, cwd: str) -> Located | None:
    values = {point.value for point in _entry_points() if point.name == name}
    if not values:
        return None
    if len(values) > 1:
        raise UsageError(
            f"--backend={name}: several installed packages claim this name in the group {GROUP}: "
            f"{', '.join(sorted(values))}. Give one of these instead of the name."
        )
    value = values.pop()
    module, _, attribute = value.partition(":")
    return Located(
        reference=name,
        kind="entry point",
        module=module.strip(),
        attribute=attribute.partition("[")[0].strip() or None,
        origin=f"entry point {name} = {value}",
        search=(cwd,),
    )


def _named(name: str, cwd: str) -> Located:
    target, _, attribute = name.rpartition(":") if ":" in name else (name, "", "")
    if ":" in name and not _ATTRIBUTE.fullmatch(attribute):
        raise UsageError(f"--backend={name}: {attribute!r} behind the colon is not an attribute name. {_FORMS}")
    if target.endswith(".py") or "/" in target or os.sep in target:
        return _file(name, target, attribute or None, cwd)
    spec = module_spec(target, (cwd,)) if _is_dotted_name(target) else None
    if spec is None:
        raise UsageError(_unknown(name, target, cwd))
    places = list(spec.submodule_search_locations or [])
    origin = spec.origin or (f"{places[0]} (a folder without __init__.py)" if places else "unknown place")
    return Located(
        reference=name, kind="module", module=target, attribute=attribute or None, origin=origin, search=(cwd,)
    )


def _file(name: str, target: str, attribute: str | None, cwd: str) -> Located:
    path = Path(os.path.abspath(Path(cwd, Path(target).expanduser())))
    if not os.path.isfile(path) or path.suffix != ".py":
        raise UsageError(_no_file(name, target, path))
    module, folder = file_module(path)
    return Located(
        reference=name, kind="file", module=module, attribute=attribute, origin=str(path), search=(folder, cwd)
    )


def _no_file(name: str, target: str, path: Path) -> str:
    # os.path instead of Path: a name may be too long for the system, which is no more than "not there".
    if os.path.isdir(path):
        dotted = target.strip("./").replace("/", ".") or "mypkg"
        return (
            f"--backend={name}: {path} is a folder. Give a module by its dotted name (--backend={dotted}), "
            f"or the .py file that holds the classes."
        )
    if os.path.isfile(path):
        return f"--backend={name}: {path} is not a .py file. {_FORMS}"
    folder = path.parent
    if not os.path.isdir(folder):
        return f"--backend={name}: there is no file {path}; its folder does not exist either. {_FORMS}"
    files = sorted(file.name for file in folder.glob("*.py"))
    near = _nearest(path.name, files) or files[:5]
    return f"--backend={name}: there is no file {path}. {_sentence('Python files there: ', near)}{_FORMS}"


def _unknown(name: str, target: str, cwd: str) -> str:
    points = sorted({point.name for point in _entry_points()})
    return "\n".join(
        [
            f"--backend={name}: there is no such backend.",
            "Tried, without importing anything:",
            f"  - an entry point {name!r} in the group {GROUP}; installed: {', '.join(points) or 'none'}",
            f"  - a module {target!r} on sys.path and then in {cwd}: {_missing_part(target, cwd)}",
            f"  - a .py file: only where the name ends in .py; {_file_hint(target, cwd)}",
            *_nearest_names(target, points, cwd),
            _FORMS,
        ]
    )


def _missing_part(target: str, cwd: str) -> str:
    if not _is_dotted_name(target):
        return "not the name of a module (words joined by dots)"
    parts = target.split(".")
    for count in range(1, len(parts) + 1):
        part = ".".join(parts[:count])
        if module_spec(part, (cwd,)) is None:
            break
    parent = ".".join(parts[: count - 1])
    return f"{parent} is there, but it has no module {parts[count - 1]!r}" if parent else f"no {part!r} is there"


def _file_hint(target: str, cwd: str) -> str:
    relative = target.replace(".", "/") + ".py"
    for candidate in (relative, f"src/{relative}", f"src/{target.replace('.', '/')}"):
        path = Path(cwd, candidate)
        if os.path.isfile(path):
            return f"--backend={candidate} is there"
        if os.path.isdir(path):
            return f"{candidate}/ is there: install that package first (pip install -e .)"
    return "none is meant by this name"


def _nearest_names(target: str, points: Iterable[str], cwd: str) -> list[str]:
    parent, _, last = target.replace("-", "_").rpartition(".")
    near = _nearest(target, points)
    if not parent:
        installed = {module.name for module in pkgutil.iter_modules([*sys.path, cwd])}
        near += _nearest(last, sorted(installed - sys.stdlib_module_names))
    else:
        spec = module_spec(parent, (cwd,)) if _is_dotted_name(parent) else None
        if spec is None:
            return _nearest_names(parent, points, cwd)
        inside = pkgutil.iter_modules(list(spec.submodule_search_locations or []))
        # By the last word: what both share before it makes any two names alike.
        near += [f"{parent}.{name}" for name in _nearest(last, sorted(module.name for module in inside))]
    return [f"Nearest names: {', '.join(dict.fromkeys(near))}."] if near else []


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    # Below this, words are alike by chance: `nope` and `opcode`.
    return difflib.get_close_matches(name, known, n=4, cutoff=0.72)


def _sentence(start: str, words: Sequence[str]) -> str:
    return f"{start}{', '.join(words)}. " if words else ""


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in text.split("."))


def _top_level(name: str, search: Sequence[str]) -> ModuleSpec | None:
    # Every finder is asked, so that editable installs are seen; none of them imports a top-level module.
    found = (finder.find_spec(name, None) for finder in sys.meta_path if hasattr(finder, "find_spec"))
    specs = [spec for spec in found if spec is not None]
    last = PathFinder.find_spec(name, [*sys.path, *search])
    specs += [last] if last is not None else []
    # A folder without __init__.py gives way to a real module anywhere on the path, as in an import.
    return next((spec for spec in specs if not _is_bare_folder(spec)), specs[0] if specs else None)


def _is_bare_folder(spec: ModuleSpec) -> bool:
    return spec.origin is None and spec.submodule_search_locations is not None


def _child(dotted: str, last: str, places: list[str]) -> ModuleSpec | None:
    try:
        return PathFinder.find_spec(dotted, places)
    except KeyError:
        # A folder without __init__.py asks sys.modules for its parent, which is not imported here. Under its
        # last name alone it does not ask.
        return PathFinder.find_spec(last, places)


def _entry_points() -> list[EntryPoint]:
    installed = list(importlib.metadata.entry_points(group=GROUP))
    checkout = _entry_points_of_checkout()
    if not checkout:
        return installed
    # In a clone its own file is the truth: what was once installed from it may be older, or may be missing.
    foreign = [point for point in installed if point.dist is None or point.dist.name != DISTRIBUTION]
    return [*foreign, *checkout]


def _entry_points_of_checkout() -> list[EntryPoint]:
    file = (HOME / "harness").resolve().parent / "pyproject.toml"
    if not file.is_file():
        return []
    project = tomllib.loads(file.read_text()).get("project", {})
    if project.get("name") != DISTRIBUTION:
        return []
    values = project.get("entry-points", {}).get(GROUP, {})
    return [EntryPoint(name=name, value=value, group=GROUP) for name, value in values.items()]
