"""Nested state dicts and their flat form.

Mappings are descended at every level; a list is descended if a tensor or a mapping lies in it at any depth, otherwise
it is one value; tuples are always one value. The flat name joins the keys by dots. ``{"a": [t, {"k": 1}]}`` becomes
``{"a.0": t, "a.1.k": 1}``.

In memory a path holds the real keys (``("d", 0)`` for ``{"d": {0: 5}}``). On disk it is written as torch writes it,
mapping keys as strings and list places as integers, and what that loses (key types, empty mappings) goes into one
extra entry of ``planner_data`` which torch never looks up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import torch

from dcp_conformance.reference_impl.interchange import StateDict

#: A path from the state dict to a value: mapping keys of any type, and integers as places in lists.
Path = tuple[Hashable, ...]

#: The entry of ``planner_data`` for what torch's own paths cannot say.
STRUCTURE = "\0reference_impl.structure"

_PLAIN_KEYS = (str, int, float, bool, type(None), bytes, tuple)


@dataclass
class Flat:
    """A flattened state dict."""

    values: StateDict = field(default_factory=dict)
    #: flat name -> path with the real keys.
    paths: dict[str, Path] = field(default_factory=dict)
    #: flat name of each empty mapping -> its path.
    empty: dict[str, Path] = field(default_factory=dict)
    #: flat name -> the places in its path that are list places.
    places: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def planner_data(self) -> dict[str, Any]:
        """Return the paths as torch stores them, plus the structure entry where torch's form loses something."""
        data: dict[str, Any] = {name: self._stored(name, path) for name, path in self.paths.items()}
        keys = {name: self._typed(name, path) for name, path in (*self.paths.items(), *self.empty.items())}
        keys = {name: typed for name, typed in keys.items() if typed}
        if keys or self.empty:
            empty = {name: self._stored(name, path) for name, path in self.empty.items()}
            data[STRUCTURE] = {"keys": keys, "empty": empty}
        return data

    def _stored(self, name: str, path: Path) -> tuple[str | int, ...]:
        places = self.places.get(name, ())
        return tuple(int(part) if i in places else str(part) for i, part in enumerate(path))  # type: ignore[call-overload]

    def _typed(self, name: str, path: Path) -> dict[int, Any]:
        places = self.places.get(name, ())
        return {
            i: part
            for i, part in enumerate(path)
            if i not in places and not isinstance(part, str) and isinstance(part, _PLAIN_KEYS)
        }


def flatten(state_dict: Mapping[Any, Any]) -> Flat:
    """Flatten ``state_dict``. Raises ValueError naming a flat name that two values share."""
    flat = Flat()
    for path, places, value in _leaves((), (), state_dict, top=True):
        name = ".".join(map(str, path))
        if name in flat.paths or name in flat.empty or name == STRUCTURE:
            raise ValueError(f"two values have the same flattened key {name!r}")
        if isinstance(value, Mapping):
            flat.empty[name] = path
        else:
            flat.values[name] = value
            flat.paths[name] = path
        if places:
            flat.places[name] = places
    return flat


def _leaves(
    path: Path, places: tuple[int, ...], value: Any, *, top: bool = False
) -> Iterator[tuple[Path, tuple[int, ...], Any]]:
    # An explicit stack: a generator that recurses costs a frame per level and per value.
    stack: list[tuple[Path, tuple[int, ...], Any, bool]] = [(path, places, value, top)]
    while stack:
        path, places, value, top = stack.pop()
        if isinstance(value, Mapping):
            if not value and not top:
                yield path, places, value
            stack.extend(((*path, key), places, item, False) for key, item in reversed(list(value.items())))
        elif isinstance(value, list) and holds_more(value):
            spot = (*places, len(path))
            stack.extend(((*path, i), spot, value[i], False) for i in reversed(range(len(value))))
        else:
            yield path, places, value


def holds_more(value: list[Any]) -> bool:
    """Tell whether a tensor or a mapping lies in this list, in lists within it included."""
    stack = [value]
    while stack:
        for item in stack.pop():
            if isinstance(item, (torch.Tensor, Mapping)):
                return True
            if isinstance(item, list):
                stack.append(item)
    return False


def refuse_read_only(state_dict: Mapping[Any, Any]) -> None:
    """Raise TypeError where a value lies in a mapping that a load could not put it back into."""
    stack: list[tuple[Path, Any]] = [((), state_dict)]
    while stack:
        path, container = stack.pop()
        items = container.items() if isinstance(container, Mapping) else enumerate(container)
        fixed = isinstance(container, Mapping) and not isinstance(container, MutableMapping)
        for key, value in items:
            where = (*path, key)
            if isinstance(value, Mapping) or (isinstance(value, list) and holds_more(value)):
                stack.append((where, value))
            elif fixed and not isinstance(value, torch.Tensor):
                name = ".".join(map(str, where))
                raise TypeError(f"{name!r} lies in a read-only {type(container).__name__}; a load could not restore it")


# -- setting and getting by path -------------------------------------------------------------------------------------


def child_key(container: Any, part: Hashable) -> Any:
    """Return the key in ``container`` of what a path calls ``part`` (a stored path knows string keys only)."""
    if isinstance(container, list):
        return int(part)  # type: ignore[call-overload]
    if part in container:
        return part
    return next((key for key in container if str(key) == str(part)), part)


def get_path(root: Any, path: Path) -> Any:
    """Return the value at ``path``. Raises KeyError, IndexError or TypeError where there is none."""
    for part in path:
        root = root[child_key(root, part)]
    return root


def set_path(root: Any, path: Path, value: Any) -> None:
    """Replace the value at ``path``; missing mappings and list places on the way are made."""
    for part, following in zip(path, path[1:], strict=False):
        root = _step_into(root, part, [] if type(following) is int else {})
    key = child_key(root, path[-1])
    if isinstance(root, list):
        _extend(root, key)
    root[key] = value


def _step_into(container: Any, part: Hashable, fresh: Any) -> Any:
    key = child_key(container, part)
    if isinstance(container, list):
        _extend(container, key)
        if container[key] is None:
            container[key] = fresh
    elif key not in container:
        container[key] = fresh
    return container[key]


def _extend(container: list[Any], place: int) -> None:
    container.extend([None] * (place + 1 - len(container)))


# -- what planner_data says about the structure ------------------------------------------------------------------------


def merge_planner_data(parts: list[Any]) -> dict[str, Any]:
    """Return the planner data of all ranks as one; the first rank that has a name decides its path."""
    merged: dict[str, Any] = {}
    keys: dict[str, Any] = {}
    empty: dict[str, Any] = {}
    for part in reversed(parts):
        # A planner may carry data of its own here and merge it itself.
        for name, path in (part if isinstance(part, dict) else {}).items():
            if name == STRUCTURE:
                keys.update(path["keys"])
                empty.update(path["empty"])
            else:
                merged[name] = path
    if keys or empty:
        merged[STRUCTURE] = {"keys": keys, "empty": empty}
    return merged


def stored_structure(planner_data: Any) -> tuple[dict[str, dict[int, Any]], dict[str, Path]]:
    """Key types and empty mappings that a checkpoint recorded: (name -> place -> real key), (name -> path)."""
    found = planner_data.get(STRUCTURE) if isinstance(planner_data, dict) else None
    if not isinstance(found, dict):
        return {}, {}
    keys, empty = found.get("keys"), found.get("empty")
    return (keys if isinstance(keys, dict) else {}), (empty if isinstance(empty, dict) else {})


def rebuild(root: StateDict, name: str, value: Any, planner_data: Any) -> None:
    """Put the value called ``name`` into ``root`` at its recorded place, with its recorded key types."""
    path = planner_data.get(name) if isinstance(planner_data, dict) else None
    if path is None:
        root[name] = value
        return
    typed = stored_structure(planner_data)[0].get(name, {})
    container: Any = root
    for i, part in enumerate(path):
        key = typed.get(i, part)
        if i == len(path) - 1:
            if isinstance(container, list):
                _extend(container, key)
            container[key] = value
        else:
            listed = type(path[i + 1]) is int
            container = _step_into(container, key, [] if listed else {})
