"""Plain data as text that cannot run code: JSON in which everything but lists and scalars says what it is.

What comes from ranks is decoded where verdicts are made, so it is a closed list: the kinds of `_MADE` and the records
of records.py. A dict is pairs under a tag, not a JSON object, so that keys may be of any kind and no key is a tag.
"""

from __future__ import annotations

import base64
import collections
import datetime
import decimal
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dcp_conformance.harness.plain.records import ROOTS, NotPlainData, fields_of, make_record, name_of_record

_SCALARS = (type(None), bool, int, float, str)
_RECORD = "record"


class Malformed(ValueError):
    """Bytes that nobody wrote who keeps to the format; the text says what is wrong with them."""


def dumps(value: object) -> bytes:
    """Write plain data. Raises NotPlainData for anything else, naming its class."""
    try:
        return json.dumps(_tagged(value), separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise NotPlainData("values that are nested too deeply") from None


def loads(data: bytes | str, packages: Sequence[str] = ROOTS) -> Any:
    """Read what `dumps` wrote; record types are those of loaded modules of `packages`.

    Raises:
        NotPlainData: a record's type is not known here, or a field of it does not fit.
        Malformed: anything else.
    """
    try:
        return _untagged(json.loads(data), packages)
    except NotPlainData:
        raise
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise Malformed(f"{type(error).__name__}: {error}"[:200]) from None


def _tagged(value: Any) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list:
        return [_tagged(item) for item in value]
    if kind in _TAGS:
        tag, parts = _TAGS[kind]
        return {tag: _tagged(parts(value))}
    if isinstance(value, pathlib.PurePath):
        return {"path": str(value)}
    return {_RECORD: [name_of_record(value), [[key, _tagged(item)] for key, item in fields_of(value).items()]]}


def _untagged(value: Any, packages: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_untagged(item, packages) for item in value]
    if not isinstance(value, dict):
        return value
    [(tag, inner)] = value.items()
    if tag == _RECORD:
        name, pairs = inner
        return make_record(name, {key: _untagged(item, packages) for key, item in pairs}, packages)
    return _MADE[tag](_untagged(inner, packages))


def _pairs(value: Mapping[Any, Any]) -> list[Any]:
    return [[key, item] for key, item in value.items()]


_TAGS: Mapping[type, tuple[str, Callable[[Any], Any]]] = {
    dict: ("dict", _pairs),
    collections.OrderedDict: ("ordered", _pairs),
    collections.Counter: ("counter", _pairs),
    collections.defaultdict: ("dict", _pairs),
    tuple: ("tuple", list),
    set: ("set", list),
    frozenset: ("frozenset", list),
    collections.deque: ("deque", list),
    range: ("range", lambda value: [value.start, value.stop, value.step]),
    bytes: ("bytes", lambda value: base64.b64encode(value).decode("ascii")),
    bytearray: ("bytearray", lambda value: base64.b64encode(value).decode("ascii")),
    complex: ("complex", lambda value: [value.real, value.imag]),
    decimal.Decimal: ("decimal", str),
    datetime.timedelta: ("seconds", lambda value: value.total_seconds()),
}
"""Class -> the tag that says it, and what it is made of."""

_MADE: Mapping[str, Callable[[Any], Any]] = {
    "dict": dict,
    "ordered": collections.OrderedDict,
    "counter": lambda pairs: collections.Counter(dict(pairs)),
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": collections.deque,
    "range": lambda parts: range(*parts),
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "bytearray": lambda text: bytearray(base64.b64decode(text, validate=True)),
    "complex": lambda parts: complex(*parts),
    "decimal": decimal.Decimal,
    "seconds": lambda seconds: datetime.timedelta(seconds=seconds),
    "path": pathlib.PurePosixPath,
}
"""Tag -> how it is made of its parts. None of these imports, calls back or opens anything."""
