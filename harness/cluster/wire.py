"""Framed messages over Unix sockets. A frame is an 8-byte length and plain data, see harness.cluster.codec."""

from __future__ import annotations

import array
import socket
import struct
from collections.abc import Sequence
from typing import Any

from dcp_conformance.harness.cluster.codec import NotPlainData, dumps, loads

_HEADER = struct.Struct("<Q")
_CHUNK = 1 << 18
_MOST_CHUNKS = 64
_MOST_FDS = 250  # SCM_MAX_FD is 253
#: Bytes. No scenario sends so much; who claims to is not waited for.
LARGEST_FRAME = 64 << 20


class Channel:
    """One end of a blocking stream socket, with whole messages in both directions."""

    def __init__(self, end: socket.socket, *, send_limit: float | None = None) -> None:
        self.socket = end
        if send_limit is not None:
            # Not settimeout(): Python would then wait in reads that are told not to wait.
            limit = struct.pack("@ll", int(send_limit), 0)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self.closed = False
        self._buffer = bytearray()
        self._fds: list[int] = []

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, message: object) -> None:
        """Send one message; waits while the other side's buffer is full.

        Raises:
            OSError: the other side is gone, or the send limit has passed (BlockingIOError).
        """
        data = dumps(message)
        self.socket.sendall(_HEADER.pack(len(data)) + data)

    def send_with_fds(self, message: object, fds: Sequence[int]) -> None:
        """Send a message together with copies of these open files (SCM_RIGHTS)."""
        if len(fds) > _MOST_FDS:
            raise ValueError(f"{len(fds)} open files in one message, the kernel allows {_MOST_FDS}")
        data = dumps(message)
        frame = _HEADER.pack(len(data)) + data
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        sent = self.socket.sendmsg([frame], [rights])
        # sendmsg may take a part; the descriptors have gone with its first byte.
        self.socket.sendall(frame[sent:])

    def receive(self) -> Any:
        """Wait for one message.

        Raises:
            EOFError: the other side is gone.
        """
        while True:
            frame = self._next_frame()
            if frame is not None:
                return loads(frame)
            if not self._fill(0):
                raise EOFError("the other end of the channel is closed")

    def drain(self) -> list[Any]:
        """Messages that have arrived, without waiting; sets `closed` at the end of the stream.

        At most 16 MiB at a time: who sends without end must not keep the reader from looking at its clock.
        """
        messages = []
        for _ in range(_MOST_CHUNKS):
            try:
                more = self._fill(socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            if not more:
                self.closed = True
                break
        while (frame := self._next_frame()) is not None:
            messages.append(loads(frame))
        return messages

    def take_fds(self, count: int) -> list[int]:
        """Return the next open files that came with messages."""
        taken, self._fds = self._fds[:count], self._fds[count:]
        return taken

    def close(self) -> None:
        self.closed = True
        self.socket.close()

    def _fill(self, flags: int) -> bool:
        try:
            data, ancillary, _flags, _address = self.socket.recvmsg(
                _CHUNK, socket.CMSG_SPACE(_MOST_FDS * 4), flags | socket.MSG_CMSG_CLOEXEC
            )
        # A process that was killed with unread bytes in its socket resets it: an end like any other.
        except ConnectionResetError:
            return False
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                self._fds.extend(fds)
        self._buffer += data
        return bool(data)

    def _next_frame(self) -> bytes | None:
        if len(self._buffer) < _HEADER.size:
            return None
        (length,) = _HEADER.unpack_from(self._buffer)
        if length > LARGEST_FRAME:
            raise NotPlainData(f"a message of {length} bytes")
        if len(self._buffer) < _HEADER.size + length:
            return None
        frame = bytes(self._buffer[_HEADER.size : _HEADER.size + length])
        del self._buffer[: _HEADER.size + length]
        return frame
