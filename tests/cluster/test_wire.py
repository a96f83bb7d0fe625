"""Messages arrive whole, with their open files, and decoding them imports nothing."""

from __future__ import annotations

import datetime
import os
import socket
import sys
import threading
from pathlib import PurePosixPath
from typing import Any

import pytest

from dcp_conformance.harness.cluster.outcomes import Event
from dcp_conformance.harness.cluster.wire import Channel, NotPlainData, dumps, loads


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


@pytest.mark.parametrize("value", [Touches(), socket.AF_INET, print, eval])
def test_anything_else_is_refused_by_name(value: object) -> None:
    with pytest.raises(NotPlainData, match="socket|system|print|eval"):
        loads(dumps(value))


def test_decoding_never_imports() -> None:
    assert "wave" not in sys.modules
    with pytest.raises(NotPlainData, match="wave.Error"):
        loads(b"cwave\nError\n.", ("wave",))
    assert "wave" not in sys.modules


class _Pair:
    def __enter__(self) -> tuple[Channel, Channel]:
        ours, theirs = socket.socketpair()
        self._channels = Channel(ours), Channel(theirs)
        return self._channels

    def __exit__(self, *_: object) -> None:
        for channel in self._channels:
            channel.close()
