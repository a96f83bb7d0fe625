"""Plain data as bytes and back. Decoding runs no code: what a rank sends is data, whoever wrote the bytes.

The format is MessagePack with a few extension types for what Python has and MessagePack lacks. A frozen dataclass is a
record: the name of its class and its fields. It comes back as that class only where the class is one of ours that this
process has imported already, and then without its constructor; any other record comes back as a `Seen`, which has the
fields and nothing else. No name in the bytes leads to a function, and nothing is imported.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, cast

import msgpack

OURS = "dcp_conformance."
_DEEPEST = 64


class NotPlainData(Exception):
    """A value holds something that is not plain data, or bytes are no message; the text names it."""


class Seen:
    """A record whose class this process has not imported: its fields as attributes, read-only."""

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        self.__dict__.update(fields)
        self.__dict__["_name"] = name

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self.__dict__['_name']} is a record; its fields cannot be set")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seen) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{key}={value!r}" for key, value in self.__dict__.items() if key != "_name")
        return f"{self.__dict__['_name']}({fields})"


def dumps(value: object) -> bytes:
    """Encode plain data.

    Raises:
        NotPlainData: it holds anything else, is nested deeper than 64 levels, or goes round in a circle.
    """
    try:
        packed: bytes = _packed(value, 0)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise NotPlainData(str(error)) from None
    return packed


def loads(data: bytes) -> Any:
    """Decode what `dumps` wrote.

    Raises:
        NotPlainData: the bytes are anything else.
    """
    try:
        return _unpacked(data, 0)
    except NotPlainData:
        raise
    except Exception as error:  # MessagePack and the constructors of dates and numbers raise many kinds
        raise NotPlainData(f"bytes that are no message ({type(error).__name__}: {str(error)[:200]})") from None


def _packed(value: object, depth: int) -> bytes:
    # surrogatepass: names of files may hold lone surrogates, and a finding about them must come through.
    packer = msgpack.Packer(
        default=lambda item: _extended(item, depth), strict_types=True, unicode_errors="surrogatepass"
    )
    packed: bytes = packer.pack(value)
    return packed


def _unpacked(data: bytes, depth: int) -> Any:
    if depth > _DEEPEST:
        raise NotPlainData(f"it is nested deeper than {_DEEPEST} levels")
    return msgpack.unpackb(
        data, ext_hook=lambda code, body: _plain(code, body, depth), strict_map_key=False,
        unicode_errors="surrogatepass", raw=False,
    )  # fmt: skip


def _extended(value: Any, depth: int) -> Any:
    """Return what MessagePack is to write in place of a value that it does not know."""
    if depth > _DEEPEST:
        raise NotPlainData(f"it is nested deeper than {_DEEPEST} levels")
    # By exact type: a subclass may have overridden anything, and its way back would be its base's.
    known = _CODES.get(type(value))
    if known is not None:
        code, to_plain = known
        return msgpack.ExtType(code, _packed(to_plain(value), depth + 1))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return msgpack.ExtType(_RECORD, _packed([_name(type(value)), fields], depth + 1))
    simpler = _simpler(value)
    return _extended(simpler, depth) if type(simpler) in _CODES else simpler


def _simpler(value: Any) -> Any:
    """Return a value of a derived class as its base: an enumeration as its number, a named tuple as a tuple."""
    if isinstance(value, enum.Enum) and isinstance(value, int | str):
        return value.value
    bases: tuple[Callable[[Any], Any], ...] = (bool, int, float, str, bytes, tuple, list, dict, set, frozenset)
    for base in bases:
        if isinstance(value, cast(type, base)) and type(value) is not base and _may_stand_for(value):
            return base(value)
    if isinstance(value, PurePosixPath):
        return PurePosixPath(value)
    raise NotPlainData(_name(type(value)) if not callable(value) else _name(value))


def _may_stand_for(value: Any) -> bool:
    # socket.AF_INET and its like are numbers; an object of a foreign class is no plain data, whatever it derives from.
    return type(value).__module__ in ("builtins", "collections") or isinstance(value, tuple)


def _plain(code: int, body: bytes, depth: int) -> Any:
    content = _unpacked(body, depth + 1)
    if code == _RECORD:
        return _record(content)
    if code not in _KINDS:
        raise NotPlainData(f"an extension of the unknown type {code}")
    return _KINDS[code][2](content)


def _record(content: Any) -> Any:
    name, fields = content
    if not isinstance(name, str) or not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        raise NotPlainData("a record without a name or fields")
    kind = _known(name)
    if kind is None:
        return Seen(name, fields)
    if set(fields) != {field.name for field in dataclasses.fields(kind)}:
        raise NotPlainData(f"a {name} with other fields than it has")
    # Without the constructor: a message must not run code, not even ours.
    record = object.__new__(kind)
    for key, value in fields.items():
        object.__setattr__(record, key, value)
    return record


def _known(name: str) -> Any:
    """Return the frozen dataclass of ours that a name means, where its module has been imported; None for all else."""
    module, _, word = name.rpartition(".")
    if not name.startswith(OURS) or module not in sys.modules:
        return None
    found = vars(sys.modules[module]).get(word)
    # Where it was defined, not where it was imported to: a name that a module merely holds is no record of it.
    if not isinstance(found, type) or not dataclasses.is_dataclass(found) or found.__module__ != module:
        return None
    return found if found.__dataclass_params__.frozen else None  # type: ignore[attr-defined]


def _name(thing: Any) -> str:
    module = getattr(thing, "__module__", None) or "builtins"
    return f"{module}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def _whole(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)


def _number(data: bytes) -> int:
    if len(data) > 1 << 12:
        raise NotPlainData(f"a number of {len(data)} bytes")
    return int.from_bytes(data, "little", signed=True)


_RECORD = 0
# For each extension type: the class, its plain content, and the way back.
_KINDS: Mapping[int, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    1: (tuple, list, tuple),
    2: (set, list, set),
    3: (frozenset, list, frozenset),
    4: (complex, lambda z: struct.pack("<dd", z.real, z.imag), lambda data: complex(*struct.unpack("<dd", data))),
    5: (int, _whole, _number),  # only those beyond 64 bits come here
    6: (range, lambda r: [r.start, r.stop, r.step], lambda parts: range(*parts)),
    7: (bytearray, bytes, bytes),
    8: (PurePosixPath, str, PurePosixPath),
    9: (datetime.timedelta, lambda t: [t.days, t.seconds, t.microseconds], lambda parts: datetime.timedelta(*parts)),
    10: (datetime.datetime, lambda t: t.isoformat(), datetime.datetime.fromisoformat),
    11: (decimal.Decimal, str, decimal.Decimal),
    12: (fractions.Fraction, lambda f: [f.numerator, f.denominator], lambda parts: fractions.Fraction(*parts)),
}
_CODES: Mapping[type, tuple[int, Callable[[Any], Any]]] = {
    kind: (code, to_plain) for code, (kind, to_plain, _) in _KINDS.items()
}
