"""Framed messages over Unix sockets, and a decoder that never imports anything.

A frame is an 8-byte length and a pickle of plain data. The driving process decodes with `loads`, which
resolves only the classes of plain data: the code under test must not be imported, let alone run, there.
"""

from __future__ import annotations

import array
import io
import pickle
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_HEADER = struct.Struct("<Q")
_CHUNK = 1 << 18
_MOST_CHUNKS = 64
_MOST_FDS = 250  # SCM_MAX_FD is 253
_PLAIN: Mapping[str, frozenset[str]] = {
    "builtins": frozenset(
        {"bool", "bytearray", "bytes", "complex", "float", "int", "range", "slice", "str", "Ellipsis"}
        | {"dict", "frozenset", "list", "set", "tuple"}
    ),
    "collections": frozenset({"Counter", "OrderedDict", "defaultdict", "deque"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "decimal": frozenset({"Decimal"}),
    "fractions": frozenset({"Fraction"}),
    "pathlib": frozenset({"PosixPath", "PurePosixPath"}),
    "pathlib._local": frozenset({"PosixPath", "PurePosixPath"}),  # Python 3.13
}
"""Module -> classes that make up plain data."""


class NotPlainData(Exception):
    """A message refers to something that is not plain data; the text names it."""


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, packages: Sequence[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._packages = packages

    def find_class(self, module: str, name: str) -> Any:
        loaded = module.partition(".")[0] in self._packages and module in sys.modules
        if not loaded and name not in _PLAIN.get(module, ()):
            raise NotPlainData(f"{module}.{name}")
        return super().find_class(module, name)


def dumps(message: object) -> bytes:
    """Pickle with the newest protocol."""
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)


def loads(data: bytes, packages: Sequence[str] = ("dcp_conformance",)) -> Any:
    """Unpickle plain data and classes of already imported modules of these packages; nothing is imported.

    Raises:
        NotPlainData: the data refers to anything else.
    """
    return _PlainUnpickler(data, packages).load()


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
        """The next open files that came with messages."""
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
        if len(self._buffer) < _HEADER.size + length:
            return None
        frame = bytes(self._buffer[_HEADER.size : _HEADER.size + length])
        del self._buffer[: _HEADER.size + length]
        return frame
