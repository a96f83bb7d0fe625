"""Messages arrive whole, with their open files; what is no message is told from what is."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from dcp_conformance.harness.cluster.messages import Told
from dcp_conformance.harness.cluster.wire import Channel, framed, frames
from dcp_conformance.harness.plain.text import Malformed


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


@pytest.mark.parametrize("sent", [b"\xff" * 64, (5).to_bytes(8, "little") + b"hello", (1 << 40).to_bytes(8, "little")])
def test_garbage_is_malformed_and_never_waited_for(sent: bytes) -> None:
    with _Pair() as (ours, theirs):
        theirs.socket.sendall(sent)
        with pytest.raises(Malformed):
            ours.drain()


def test_a_file_of_frames_may_end_within_the_last_one() -> None:
    events = [Told(kind="a", data="{}", at=1.0), Told(kind="b", data="{}", at=2.0)]
    whole = b"".join(map(framed, events))
    assert list(frames(whole)) == events
    assert list(frames(whole[:-1])) == events[:1]


class _Pair:
    def __enter__(self) -> tuple[Channel, Channel]:
        ours, theirs = socket.socketpair()
        self._channels = Channel(ours), Channel(theirs)
        return self._channels

    def __exit__(self, *_: object) -> None:
        for channel in self._channels:
            channel.close()
