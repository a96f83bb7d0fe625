"""The shape of a certificate, checked strictly by hand: an unknown field, a missing one, a wrong type is a problem.

A check takes a value and the place where it stands, and returns sentences. No dependency, so that a certificate can
be checked wherever it can be read.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, get_args

from dcp_conformance.harness.contract import BASES, FUNCTIONS, LETTERS, LEVELS, Strength
from dcp_conformance.harness.verdicts.levels import State
from dcp_conformance.harness.verdicts.verdict import ENGINE, KNOWN, NOT_EXERCISED, Verdict

FAMILY = "dcp-conformance/certificate/"
SCHEMA = f"{FAMILY}2"

Check = Callable[[Any, str], list[str]]

_VERDICTS = tuple(verdict.word for verdict in Verdict)


def validate(certificate: object) -> list[str]:
    """Name every way in which `certificate` (JSON data) breaks this schema; empty if it does not."""
    if not isinstance(certificate, Mapping) or certificate.get("schema") != SCHEMA:
        return [_other_schema(certificate)]
    return _CERTIFICATE(certificate, "certificate")


def _other_schema(certificate: object) -> str:
    marked = certificate.get("schema") if isinstance(certificate, Mapping) else None
    if isinstance(marked, str) and marked.startswith(FAMILY) and marked[len(FAMILY) :].isdigit():
        age = "an older" if int(marked[len(FAMILY) :]) < int(SCHEMA[len(FAMILY) :]) else "a newer"
        return f"certificate: written by {age} dcp-conformance ({marked}), which this one ({SCHEMA}) does not read"
    return f"certificate: not marked as {SCHEMA!r}"


def _text(value: Any, where: str) -> list[str]:
    if not isinstance(value, str):
        return [f"{where}: must be a text, is {_kind(value)}"]
    surrogate = any("\ud800" <= letter <= "\udfff" for letter in value)
    return [f"{where}: holds a lone surrogate, which no file can"] if surrogate else []


def _flag(value: Any, where: str) -> list[str]:
    return [] if isinstance(value, bool) else [f"{where}: must be true or false, is {_kind(value)}"]


def _count(value: Any, where: str) -> list[str]:
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return [] if good else [f"{where}: must be a number from 0 on, is {value!r}"]


def _whole(value: Any, where: str) -> list[str]:
    good = isinstance(value, int) and not isinstance(value, bool)
    return [] if good else [f"{where}: must be a whole number, is {value!r}"]


def _seconds(value: Any, where: str) -> list[str]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    good = number and math.isfinite(value) and value >= 0
    return [] if good else [f"{where}: must be finite, from 0 on; is {value!r}"]


def _moment(value: Any, where: str) -> list[str]:
    try:
        moment = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        return [f"{where}: must be a moment such as 2026-11-22T10:00:00+00:00, is {value!r}"]
    return [] if moment.utcoffset() == datetime.timedelta(0) else [f"{where}: must be in UTC, is {value!r}"]


def _day(value: Any, where: str) -> list[str]:
    try:
        datetime.date.fromisoformat(value)
    except (TypeError, ValueError):
        return [f"{where}: must be a day such as 2027-03-01, is {value!r}"]
    return []


def _one_of(allowed: Collection[str]) -> Check:
    def check(value: Any, where: str) -> list[str]:
        good = isinstance(value, str) and value in allowed
        return [] if good else [f"{where}: must be one of {', '.join(allowed)}; is {value!r}"]

    return check


def _maybe(inner: Check) -> Check:
    return lambda value, where: [] if value is None else inner(value, where)


def _list(inner: Check, *, increasing: Callable[[Any], Any] | None = None) -> Check:
    """Return a list of such items.

    With `increasing`, in strictly increasing order of that key, so that nothing is twice.
    """

    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, list):
            return [f"{where}: must be a list, is {_kind(value)}"]
        problems = [problem for index, item in enumerate(value) for problem in inner(item, f"{where}[{index}]")]
        if increasing is not None and not problems:
            keys = [increasing(item) for item in value]
            problems += [
                f"{where}[{index + 1}]: out of order or there twice"
                for index, (one, other) in enumerate(zip(keys, keys[1:], strict=False))
                if not one < other
            ]
        return problems

    return check


def _table(inner: Check) -> Check:
    """Free names, values of one kind."""

    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, Mapping):
            return [f"{where}: must be a table, is {_kind(value)}"]
        names = [problem for name in value for problem in _text(name, f"{where} (a name)")]
        return names + [problem for name, item in value.items() for problem in inner(item, f"{where}.{name}")]

    return check


def _record(fields: Mapping[str, Check]) -> Check:
    """Exactly these names."""

    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, Mapping):
            return [f"{where}: must be a table, is {_kind(value)}"]
        problems = [f"{where}: the field {name!r} is unknown" for name in value if name not in fields]
        problems += [f"{where}: the field {name!r} is missing" for name in fields if name not in value]
        present = [(name, inner) for name, inner in fields.items() if name in value]
        return problems + [problem for name, inner in present for problem in inner(value[name], f"{where}.{name}")]

    return check


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


_COLUMN = _one_of(("backend", "engine"))
_LEVEL = _one_of(LEVELS)
_IDS = _list(_text, increasing=str)

_FINDING = _record(
    {"observed": _text, "kind": _text, "rank": _maybe(_whole), "evidence": _table(_text), "reproduce": _text}
)
_CASE = _record(
    {
        "clause": _text,
        "case": _text,
        "verdict": _one_of(_VERDICTS),
        "blame": _maybe(_COLUMN),
        "reason": _text,
        "finding": _maybe(_FINDING),
        "seconds": _seconds,
        "notes": _list(_text),
        "used": _list(_text),
    }
)


def _cell(value: Any, where: str) -> list[str]:
    return _text(value, where) if isinstance(value, str) else _whole(value, where)


def _rectangular(value: Any, where: str) -> list[str]:
    problems = _FREE_TABLE(value, where)
    if problems:
        return problems
    return [
        f"{where}.rows[{index}]: {len(row)} cells under {len(value['columns'])} columns"
        for index, row in enumerate(value["rows"])
        if len(row) != len(value["columns"])
    ]


_FREE_TABLE = _record({"title": _text, "columns": _list(_text), "rows": _list(_list(_cell))})
_ENTRY: Mapping[str, Check] = {
    "clause": _text,
    "case": _maybe(_text),
    "reason": _text,
    "expires": _maybe(_day),
    "defect": _text,
}
_CLAUSE = _record(
    {
        "id": _text,
        "level": _LEVEL,
        "strength": _one_of([strength.name for strength in Strength]),
        "applies": _list(_one_of(LETTERS)),
        "about": _list(_one_of(FUNCTIONS)),
        "basis": _one_of(BASES),
        "experimental": _flag,
        "world": _count,
        "promise": _text,
        "source": _text,
        "standing": _one_of((*_VERDICTS, ENGINE, KNOWN, NOT_EXERCISED)),
        "verdict": _maybe(_one_of(_VERDICTS)),
        "engine": _flag,
        "known": _maybe(_record(_ENTRY)),
        "cases": _list(_CASE),
    }
)
_LEVEL_RESULT = _record(
    {
        "level": _LEVEL,
        "state": _one_of(get_args(State)),
        "kept": _count,
        "owned": _count,
        "broken": _IDS,
        "known": _IDS,
        "advice": _IDS,
        "known_advice": _IDS,
        "engine": _IDS,
        "untestable": _IDS,
        "not_exercised": _IDS,
        "harness_errors": _IDS,
        "not_applicable": _count,
        "executed": _count,
        "reason": _text,
    }
)
_BACKEND = _record(
    {
        "name": _text,
        "reference": _text,
        "version": _text,
        "location": _text,
        "commit": _text,
        "digest": _text,
        "letters": _list(_one_of(LETTERS)),
        "unsupported": _table(_text),
        "offers": _list(_text),
        "exports": _list(_text),
        "inherits": _list(_text),
        "patience": _seconds,
        "functions": _list(_one_of(FUNCTIONS)),
        "notes": _list(_text),
    }
)
_RUN = _record(
    {
        "command": _text,
        "options": _table(_text),
        "backend_options": _table(_text),
        "seed": _whole,
        "levels": _list(_LEVEL),
        "asked": _list(_LEVEL),
        "strict": _flag,
        "started": _moment,
        "ended": _moment,
        "partial": _list(_text),
        "errors": _list(_text),
        "notes": _list(_text),
        "pytest_status": _count,
        "exit_status": _count,
    }
)
_ENVIRONMENT = _record(
    {
        "python": _text,
        "torch": _text,
        "machine": _record({"platform": _text, "cpus": _count, "memory_bytes": _count, "kernel": _text}),
        "scratch_file_system": _text,
        "topology": _record({"world_sizes": _list(_count), "device": _text, "devices": _count, "group_backend": _text}),
    }
)
_CERTIFICATE = _record(
    {
        "schema": _one_of((SCHEMA,)),
        "suite": _record({"version": _text, "clauses": _count, "digest": _text}),
        "backend": _BACKEND,
        "engine": _text,
        "environment": _ENVIRONMENT,
        "run": _RUN,
        "levels": _list(_LEVEL_RESULT, increasing=lambda item: LEVELS.index(item["level"])),
        "clauses": _list(_CLAUSE, increasing=lambda item: item["id"]),
        "engine_column": _list(_CLAUSE, increasing=lambda item: item["id"]),
        "not_applicable": _list(
            _record({"id": _text, "level": _LEVEL, "reason": _text}), increasing=lambda item: item["id"]
        ),
        "excluded": _list(
            _record({"id": _text, "level": _LEVEL, "strength": _text, "reason": _text}),
            increasing=lambda item: item["id"],
        ),
        "not_exercised": _IDS,
        "known_failures": _list(_record({**_ENTRY, "expired": _flag, "used": _flag})),
        "hangs": _list(_record({"clause": _text, "case": _text, "column": _COLUMN, "observed": _text})),
        "checklist": _list(_record({"name": _text, "values": _list(_text)})),
        "tables": _list(_rectangular, increasing=lambda item: item["title"]),
        "leftovers": _list(_text),
        "digests": _record(dict.fromkeys(("events", "cases", "evidence", "levels", "whole"), _text)),
    }
)
