"""Bytes that pretend to be files of known formats have the size that was asked for, and are such files if they can."""

from __future__ import annotations

import gzip
import pickle
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from dcp_conformance.harness.states.known_formats import known_format
from dcp_conformance.harness.states.model import FORMATS

MAGIC = {"archive": b"PK", "pickle": b"\x80\x02", "zlib": b"\x78\x9c", "gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}


@pytest.mark.parametrize("size", (0, 1, 13, 41, 42, 8193, 200_000))
@pytest.mark.parametrize("kind", FORMATS)
def test_bytes_of_a_format_begin_with_its_magic_and_have_the_size(kind: str, size: int) -> None:
    found = known_format(kind, size)
    assert len(found) == size
    assert found.startswith(MAGIC[kind][:size])


@pytest.mark.parametrize("size", (41, 42, 8193))
@pytest.mark.parametrize("read", (zlib.decompress, gzip.decompress, pickle.loads), ids=("zlib", "gzip", "pickle"))
def test_bytes_of_a_format_can_be_read_as_such(read: Callable[[bytes], Any], size: int) -> None:
    kind = {zlib.decompress: "zlib", gzip.decompress: "gzip", pickle.loads: "pickle"}[read]
    assert read(known_format(kind, size))
