"""HTTP/1.1 on a socket, as far as a proxy needs it: where a message ends, and closing with a reset."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

END = b"\r\n\r\n"


@dataclass
class Stream:
    """A socket with what was read too much of it."""

    end: socket.socket
    held: bytes = b""

    def until(self, mark: bytes) -> bytes:
        """Return the bytes up to and with a mark. Raises EOFError at the end of the stream."""
        while mark not in self.held:
            self._more()
        found, _, self.held = self.held.partition(mark)
        return found + mark

    def exactly(self, count: int) -> bytes:
        """So many bytes. Raises EOFError at the end of the stream."""
        while len(self.held) < count:
            self._more()
        found, self.held = self.held[:count], self.held[count:]
        return found

    def rest(self) -> bytes:
        """Return all that comes until the other side closes."""
        with contextlib.suppress(EOFError):
            while True:
                self._more()
        found, self.held = self.held, b""
        return found

    def _more(self) -> None:
        data = self.end.recv(1 << 16)
        if not data:
            raise EOFError
        self.held += data


def body_of(stream: Stream, head: bytes, *, until_closed: bool = False) -> bytes:
    """Return the body that a head announces, as it is on the wire.

    A head that says nothing of it has none, or all that comes until the close.
    """
    # Asked first: where both are given, chunks decide (RFC 9112, 6.3).
    if re.search(rb"\r\ntransfer-encoding:\s*chunked", head, re.IGNORECASE):
        return b"".join(_chunks(stream))
    length = re.search(rb"\r\ncontent-length:\s*(\d+)", head, re.IGNORECASE)
    if length:
        return stream.exactly(int(length[1]))
    return stream.rest() if until_closed else b""


def _chunks(stream: Stream) -> Iterator[bytes]:
    while True:
        line = stream.until(b"\r\n")
        yield line
        size = int(line.split(b";")[0], 16)
        if size == 0:
            # Trailers, and the empty line behind them.
            while line != b"\r\n":
                line = stream.until(b"\r\n")
                yield line
            return
        yield stream.exactly(size + 2)


def closes(head: bytes) -> bool:
    """Tell whether the side that sent this head closes the connection after the message."""
    return re.search(rb"\r\nconnection:\s*close", head, re.IGNORECASE) is not None


def reset(end: socket.socket) -> None:
    """Close a connection so that its other end sees a reset and no orderly end."""
    with contextlib.suppress(OSError):
        # Lingering for no time at all makes the close a reset.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # shutdown wakes a thread that waits for data; alone, it would be an orderly end.
        end.shutdown(socket.SHUT_RD)
    end.close()
