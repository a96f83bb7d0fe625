"""Which modules a bundle carries: those that a case imports or names, and theirs, read and never imported."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dcp_conformance import HOME

_OURS = HOME.name
_NAMED = re.compile(rf"{_OURS}(?:\.\w+)+")
# Plain Python that the harness needs, where it has to run without its own installation.
_OTHERS = ("msgpack", "allpairspy")


def carried(roots: Sequence[str]) -> dict[str, str]:
    """Return the text of each file by its place below the folder that goes onto sys.path."""
    found: dict[str, str] = {}
    waiting = [_OURS, *roots]
    while waiting:
        for module in _with_packages(waiting.pop()):
            path = _file(module)
            if path is None or (place := _place(path)) in found:
                continue
            found[place] = path.read_text(encoding="utf-8")
            waiting += _named_in(found[place])
    return {**found, **_others()}


def named_by(module: str, *, below: Path) -> set[str]:
    """Return what a backend's module, and those of its own below a folder that it imports, name of this package."""
    found: set[str] = set()
    seen: set[Path] = set()
    waiting = [below / module if module.endswith(".py") else below.joinpath(*module.split("."))]
    while waiting:
        place = waiting.pop()
        choices = (place, place / "__init__.py", place.with_suffix(".py"))
        path = next((choice for choice in choices if choice.is_file()), None)
        if path is None or path in seen:
            continue
        seen.add(path)
        for name in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            found |= {name} if name.startswith(_OURS) else set()
            waiting += [] if name.startswith(_OURS) else map(below.joinpath, _paths(name))
    return found


def _paths(dotted: str) -> list[str]:
    return [part.replace(".", "/") for part in _with_packages(dotted)]


def _with_packages(dotted: str) -> list[str]:
    words = dotted.split(".")
    return [".".join(words[: end + 1]) for end in range(len(words))]


def _file(module: str) -> Path | None:
    path = HOME.joinpath(*module.split(".")[1:])
    choices = (path / "__init__.py", path.with_suffix(".py"))
    return next((choice for choice in choices if choice.is_file()), None)


def _place(path: Path) -> str:
    return path.relative_to(HOME.parent).as_posix()


def _named_in(source: str) -> Iterator[str]:
    """Modules that are imported, and those that a string names: ranks find their scenarios by strings."""
    tree = ast.parse(source)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    yield from (name for name in _imported(tree) if name.startswith(_OURS))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield from _NAMED.findall(node.value)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def _others() -> dict[str, str]:
    found = {}
    for name in _OTHERS:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None, f"{name} is a dependency of the suite"
        folder = Path(spec.origin).parent
        found.update({f"{name}/{path.name}": path.read_text(encoding="utf-8") for path in folder.glob("*.py")})
    return found
