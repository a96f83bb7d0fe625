"""Messages arrive whole, with their open files, and decoding them imports nothing."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pickle
import socket
import sys
import threading
from pathlib import PurePosixPath
from typing import Any

import msgpack
import pytest

from dcp_conformance.harness.cluster.codec import NotPlainData, Seen, dumps, loads
from dcp_conformance.harness.cluster.outcomes import Event
from dcp_conformance.harness.cluster.wire import Channel


def test_messages_of_any_size_arrive_whole() -> None:
    with _Pair() as (ours, theirs):
        messages = [b"x" * size for size in (0, 1, 1 << 10, 3 << 20)]
        sender = threading.Thread(target=lambda: list(map(theirs.send, messages)))
        sender.start()
        assert [ours.receive() for _ in messages] == messages
        sender.join()


def test_drain_does_not_wait_and_sees_the_end() -> None:
    with _Pair() as (ours, theirs):
        assert ours.drain() == [] and not ours.closed
        theirs.send(1)
        theirs.send((2, "two"))
        theirs.close()
        assert ours.drain() == [1, (2, "two")] and ours.closed


def test_open_files_travel_with_their_message() -> None:
    with _Pair() as (ours, theirs):
        read_end, write_end = os.pipe()
        theirs.send_with_fds("files", [read_end, write_end])
        assert ours.receive() == "files"
        first, second = ours.take_fds(2)
        os.write(second, b"through")
        assert os.read(first, 100) == b"through"
        for end in (read_end, write_end, first, second):
            os.close(end)


@pytest.mark.parametrize(
    "value",
    [{"a": [1, 2.5, None, True]}, {1, 2}, 3 + 4j, datetime.timedelta(1), PurePosixPath("/a"), Event("k", {}, 0.5)],
)
def test_plain_data_comes_back_equal(value: object) -> None:
    assert loads(dumps(value)) == value


class Touches:
    """Its pickle, loaded freely, would call os.system."""

    def __reduce__(self) -> Any:
        return (os.system, ("exit 1",))


@pytest.mark.parametrize("value", [Touches(), print, eval, os.system], ids=["object", "print", "eval", "system"])
def test_anything_else_is_refused_by_name(value: object) -> None:
    with pytest.raises(NotPlainData, match="Touches|system|print|eval"):
        dumps(value)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Touches()),
        b"",
        b"\xc1",
        b"\xc7\x05\x00xxxxx",
        b"\xc7\x01\x7f\x00",
        dumps((1, 2))[:-1],
        b"\xdd\xff\xff\xff\xff",
    ],
    ids=["pickle", "empty", "reserved", "record", "unknown type", "cut short", "long list"],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(NotPlainData):
        loads(data)


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """A record of a module that is not ours."""

    value: int


def test_record_of_a_module_that_is_not_ours_comes_back_as_its_fields() -> None:
    seen = loads(dumps(Elsewhere(3)))
    assert isinstance(seen, Seen) and seen.value == 3
    with pytest.raises(AttributeError, match="cannot be set"):
        seen.value = 4


@pytest.mark.parametrize(
    "name", ["os.system", "dcp_conformance.harness.run.plugin.inspect.builtins.exec",
             "dcp_conformance.harness.cluster.outcomes.field", "dcp_conformance.harness.cluster.wire.Channel"],
)  # fmt: skip
def test_no_name_in_the_bytes_leads_to_code(name: str) -> None:
    forged = msgpack.packb(msgpack.ExtType(0, msgpack.packb([name, {"a": 1}])))
    assert isinstance(loads(forged), Seen)


def test_record_with_other_fields_than_its_class_is_refused() -> None:
    forged = msgpack.packb(
        msgpack.ExtType(0, msgpack.packb(["dcp_conformance.harness.cluster.outcomes.Event", {"kind": "x"}]))
    )
    with pytest.raises(NotPlainData, match="other fields"):
        loads(forged)


def test_decoding_never_imports() -> None:
    assert "wave" not in sys.modules
    loads(msgpack.packb(msgpack.ExtType(0, msgpack.packb(["wave.Error", {}]))))
    assert "wave" not in sys.modules


def test_frame_that_claims_to_be_endless_is_refused_without_waiting() -> None:
    with _Pair() as (ours, theirs):
        theirs.socket.sendall((1 << 40).to_bytes(8, "little"))
        with pytest.raises(NotPlainData, match="a message of 1099511627776 bytes"):
            ours.drain()


class _Pair:
    def __enter__(self) -> tuple[Channel, Channel]:
        ours, theirs = socket.socketpair()
        self._channels = Channel(ours), Channel(theirs)
        return self._channels

    def __exit__(self, *_: object) -> None:
        for channel in self._channels:
            channel.close()
