"""Which records may cross from ranks, and the proof that one holds what its fields say.

A record type is a frozen dataclass of the harness or the suites whose making runs no code of its own. The judge finds
it by name among the modules that it has itself imported; a rank can choose one of these and nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

ROOTS = ("dcp_conformance",)
"""Packages whose frozen dataclasses are record types."""


class NotPlainData(Exception):
    """A value holds something that does not travel; the text names it."""


def name_of_record(value: object) -> str:
    """The name by which a record travels, `module:Class`. Raises NotPlainData for what is no record."""
    kind: Any = type(value)
    if not _is_record_type(kind):
        raise NotPlainData(f"{kind.__module__}.{kind.__qualname__}")
    return f"{kind.__module__}:{kind.__qualname__}"


def fields_of(record: Any) -> dict[str, Any]:
    """The fields of a record by name, not copied."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record) if field.init}


def make_record(name: str, values: Mapping[str, Any], roots: Sequence[str]) -> object:
    """The record of this type with these fields. Raises NotPlainData where it is none, or a field does not fit."""
    kind = _known(name, roots)
    hints = _hints(kind)
    for field, value in values.items():
        if field not in hints or not fits(value, hints[field]):
            raise NotPlainData(f"{name} with a field {str(field)[:80]!r} that does not fit")
    try:
        return kind(**values)
    except TypeError as error:  # a field is missing
        raise NotPlainData(f"{name}: {error}") from None


def fits(value: object, hint: Any) -> bool:
    """Whether a decoded value is what a type hint says; a hint of an unknown kind fits nothing."""
    if hint is Any or hint is object:
        return True
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, item) for item in inner)
    if origin is Literal:
        return value in inner
    if origin is None:
        return _is_a(value, hint)
    check = _INSIDE.get(origin)
    return check is not None and _is_a(value, origin) and check(value, inner)


def _is_a(value: object, kind: Any) -> bool:
    if kind is None:
        return value is None
    if kind is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(kind, type) and isinstance(value, kind)


def _each(value: Any, inner: tuple[Any, ...]) -> bool:
    return all(fits(item, inner[0]) for item in value)


def _tuple(value: Any, inner: tuple[Any, ...]) -> bool:
    if inner and inner[-1] is Ellipsis:
        return _each(value, inner)
    return len(value) == len(inner) and all(map(fits, value, inner))


def _pairs(value: Any, inner: tuple[Any, ...]) -> bool:
    return all(fits(key, inner[0]) and fits(item, inner[1]) for key, item in value.items())


_INSIDE: Mapping[Any, Callable[[Any, tuple[Any, ...]], bool]] = {
    tuple: _tuple,
    **dict.fromkeys((list, set, frozenset, Sequence, Collection, Iterable), _each),
    **dict.fromkeys((dict, Mapping), _pairs),
}


def _known(name: str, roots: Sequence[str]) -> Any:
    module, _, qualname = name.partition(":")
    # `vars`, and no dots: nothing is reached through attributes, and no module is imported.
    found = vars(sys.modules[module]).get(qualname) if module in sys.modules else None
    if module.partition(".")[0] not in roots or not _is_record_type(found) or found.__module__ != module:
        raise NotPlainData(f"{module}.{qualname}"[:200])
    return found


@functools.lru_cache(maxsize=1024)
def _is_record_type(kind: Any) -> bool:
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        return False
    runs_code = hasattr(kind, "__post_init__") or kind.__new__ is not object.__new__
    frozen: bool = vars(kind)["__dataclass_params__"].frozen if "__dataclass_params__" in vars(kind) else False
    return type(kind) is type and frozen and not runs_code


@functools.lru_cache(maxsize=1024)
def _hints(kind: type) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(kind)
    except NameError as error:  # a name that only the type checker knows cannot be plain data
        raise NotPlainData(f"{kind.__qualname__}, whose fields are not known where it is judged: {error}") from None
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
