"""Plain data travel as they are; nothing else does, and no bytes make the reader run or import anything."""

from __future__ import annotations

import collections
import datetime
import json
import os
import pickle
import random
import socket
import sys
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest

from dcp_conformance.harness.cluster.messages import Answer, Told
from dcp_conformance.harness.cluster.outcomes import Event, ExceptionRecord
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.plain.records import NotPlainData, fits
from dcp_conformance.harness.plain.text import Malformed, dumps, loads

ERROR = ExceptionRecord(type_name="E", mro=("E",), text="\udcff", traceback="", frames=(("f", 1, "g"),))


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True]}, {1, 2}, 3 + 4j, datetime.timedelta(1), PurePosixPath("/a"), Event("k", {}, 0.5),
        {"dict": {"record": ("tuple",)}}, {(1, 2): {3: b"\0\xff"}}, float("inf"), 1 << 200, "\udcff", b"", (), {},
        collections.OrderedDict(b=1, a=2), collections.Counter("aab"), Decimal("0.1"), range(3), frozenset({1}),
        ERROR, Difference("a.b", (0, 1), "1.0", "2.0"),
    ],
)  # fmt: skip
def test_plain_data_comes_back_equal_and_of_its_kind(value: object) -> None:
    found = loads(dumps(value))
    assert found == value and type(found) is type(value)


class Touches:
    """Its pickle, loaded freely, would call os.system."""

    def __reduce__(self) -> Any:
        return (os.system, ("exit 1",))


@pytest.mark.parametrize("value", [Touches(), socket.AF_INET, print, eval, [Touches()], {"a": {1: Touches()}}])
def test_anything_else_is_refused_by_name(value: object) -> None:
    with pytest.raises(NotPlainData, match="AddressFamily|Touches|builtin"):
        dumps(value)


@pytest.mark.parametrize(
    "name",
    [
        "dcp_conformance.harness.run.plugin:inspect.builtins.exec", "builtins:exec", "wave:Error", "os:system",
        "dcp_conformance.harness.plain.text:loads", "dcp_conformance.harness.cluster.outcomes:dataclass",
        "dcp_conformance.harness.laws.observations:ExceptionRecord", "dcp_conformance.harness.laws.observations:Table",
    ],
)  # fmt: skip
def test_only_records_are_made_and_nothing_is_imported(name: str) -> None:
    before = set(sys.modules)
    with pytest.raises(NotPlainData):
        loads(json.dumps({"record": [name, [["a", 1]]]}))
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "fields", [{"kind": "a", "data": 1, "at": 0.0}, {"kind": "a"}, {"kind": "a", "data": "", "at": 0.0, "more": 1}]
)
def test_fields_that_do_not_fit_are_refused(fields: dict[str, object]) -> None:
    name = f"{Told.__module__}:{Told.__qualname__}"
    with pytest.raises(NotPlainData):
        loads(json.dumps({"record": [name, [[key, value] for key, value in fields.items()]]}))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"nul", b"{}", b'{"a": 1, "b": 2}', b'{"set": [[]]}', b'{"dict": [1]}', b'{"bytes": "*"}',
        b"[" * 100_000, b"1" * 5000, b'{"range": [1, 2, 0]}', b'{"record": 1}', b'{"seconds": 1e300}', b"\xff\xfe",
        pickle.dumps(Touches()),
    ],
)  # fmt: skip
def test_what_nobody_wrote_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        loads(data)


def test_damaged_messages_give_a_value_or_one_of_two_errors() -> None:
    generator = random.Random(0)
    whole = dumps(Answer(number=1, raised=True, payload="x", seconds=0.5, clean=True, replaced=("a",)))
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        try:
            loads(bytes(damaged))
        except (Malformed, NotPlainData):
            continue


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True), (True, int, False), (1, float, True), ("a", float, False), (None, int | None, True),
        ((1, 2), tuple[int, ...], True), ((1, "a"), tuple[int, ...], False), ((1,), tuple[int, str], False),
        ([1], list[str], False), ({"a": 1}, dict[str, int], True), ({1: 1}, dict[str, int], False), (1, Any, True),
    ],
)  # fmt: skip
def test_a_value_fits_its_hint(value: object, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected
