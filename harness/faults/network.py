"""A network that fails between a backend and its object store: a proxy that reads HTTP and fails at a chosen request.

It runs in threads of the process that asks for it, which waits meanwhile. A request is read whole before anything is
done about it, so that its method and path are known and the very one that commits a checkpoint can be hit.

What it cannot see: requests inside TLS, and HTTP/2. A store on loopback needs neither.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from dcp_conformance.harness.faults.http_wire import END, Stream, body_of, closes, reset

# kind of fault -> what it is, for reports.
KINDS = {
    "refused": "the connection is reset before the server saw the request",
    "cut": "the connection is cut when half of the request has reached the server",
    "answer lost": "the server has done it, and the connection is reset before its answer",
    "answer cut": "the connection is cut in the middle of the answer",
    "busy": "this request and the next are answered with 503",
    "limited": "this request and the next are answered with 429",
    "broken": "this request and all that follow are answered with 500",
    "expired": "from this request on, the credentials are not accepted any more",
    "down": "from this request on, every connection is reset",
    "slow": "the answer comes 2 s late",
    "silent": "from this request on, nothing is ever answered",
}
_LASTING = frozenset({"broken", "expired", "down", "silent"})
_ANSWERS = {
    "busy": (503, "SlowDown", 2),
    "limited": (429, "TooManyRequests", 2),
    "broken": (500, "InternalError", 0),
    "expired": (403, "ExpiredToken", 0),
}
SLOW = 2.0
# In the body of every answer that the proxy makes up, for the check that an error repeats what the store said.
STAGED = "staged by the conformance proxy"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as the proxy read it. path: without what differs from one save to the next."""

    method: str
    path: str
    size: int  # bytes of its body

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, kw_only=True)
class NetworkFault:
    """One of KINDS, at the `number`-th request from 1 on."""

    kind: str
    number: int

    def hits(self, number: int) -> bool:
        """Tell whether it acts on the `number`-th request."""
        last = self.number + (_ANSWERS[self.kind][2] - 1 if self.kind in ("busy", "limited") else 0)
        return self.number <= number and (self.kind in _LASTING or number <= last)


class NetworkProxy:
    """Listens on loopback and passes all on to a store, but for the fault that it was armed with."""

    def __init__(self, store: str) -> None:
        """store: the address of the store, as host:port."""
        self._store = store
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._fault: NetworkFault | None = None
        self._requests: list[Request] = []
        self._hit: Request | None = None
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens, as host:port."""
        return "{}:{}".format(*self._listener.getsockname())

    @property
    def requests(self) -> tuple[Request, ...]:
        """What came since it was armed."""
        with self._lock:
            return tuple(self._requests)

    @property
    def hit(self) -> Request | None:
        """The first request that met the fault; None while none did."""
        with self._lock:
            return self._hit

    def arm(self, fault: NetworkFault | None) -> None:
        """Begin to count requests anew, with this fault or none; connections of before are closed."""
        with self._lock:
            self._fault, self._requests, self._hit = fault, [], None
            before, self._open = self._open, set()
        for end in before:
            reset(end)

    def close(self) -> None:
        """Stop listening and reset every connection."""
        self._closing.set()
        # A thread that waits in accept keeps the socket alive; shutdown wakes it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.arm(None)

    def __enter__(self) -> NetworkProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # Whatever ends a connection, on either side, ends both sides of it.
        # One connection to the store for each of the client's: a pool of ours would hide what the client's pool does.
        with contextlib.suppress(OSError, EOFError), socket.create_connection(_pair(self._store)) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(Stream(client), Stream(server))
            while connection.exchange(self._noted):
                pass
        reset(client)
        with self._lock:
            self._open.discard(client)

    def _noted(self, request: Request) -> str:
        """Count a request; the kind of the fault that it meets, or nothing."""
        with self._lock:
            self._requests.append(request)
            if self._fault is None or not self._fault.hits(len(self._requests)):
                return ""
            self._hit = self._hit or request
            return self._fault.kind


@dataclass
class _Connection:
    """One client's connection and the one to the store that stands for it."""

    client: Stream
    server: Stream
    waiting: threading.Event = field(default_factory=threading.Event)

    def exchange(self, noted: Callable[[Request], str]) -> bool:
        """Pass one request and its answer; whether another may follow."""
        head = self.client.until(END)
        # Answered here: the request is to be read whole before its fault is chosen, and the client sends no body
        # before.
        if re.search(rb"\r\nexpect:\s*100-continue", head, re.IGNORECASE):
            head = re.sub(rb"\r\nexpect:[^\r]*", b"", head, flags=re.IGNORECASE)
            self.client.end.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = body_of(self.client, head)
        method, target = head.split(b" ", 2)[:2]
        kind = noted(Request(method=method.decode(), path=_general(target.decode()), size=len(body)))
        if kind:
            return self._fail(kind, method, head, body)
        self.server.end.sendall(head + body)
        answer = self._answer(method)
        self.client.end.sendall(answer)
        return not closes(answer.partition(END)[0])

    def _fail(self, kind: str, method: bytes, head: bytes, body: bytes) -> bool:
        if kind in _ANSWERS:
            self.client.end.sendall(_made_up(method, *_ANSWERS[kind][:2]))
            return True
        if kind == "silent":
            self.client.rest()  # until the client gives up, or the proxy resets it
            return False
        if kind in ("refused", "down"):
            return False
        if kind == "cut":
            whole = head + body
            self.server.end.sendall(whole[: len(head) + len(body) // 2] if body else whole[: len(head) // 2])
            return False
        self.server.end.sendall(head + body)
        answer = self._answer(method)
        if kind == "slow":
            self.waiting.wait(SLOW)
            self.client.end.sendall(answer)
            return True
        if kind == "answer cut":
            self.client.end.sendall(answer[: max(1, len(answer) // 2)])
        return False

    def _answer(self, method: bytes) -> bytes:
        head = self.server.until(END)
        # 1xx answers come before the real one.
        while head.split(b" ", 2)[1][:1] == b"1":
            head = self.server.until(END)
        # These have no body, whatever length they announce.
        if method == b"HEAD" or head.split(b" ", 2)[1] in (b"204", b"304"):
            return head
        return head + body_of(self.server, head, until_closed=True)


def _made_up(method: bytes, status: int, code: str) -> bytes:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{STAGED}</Message></Error>'.encode()
    words = [f"HTTP/1.1 {status} {code}", "Content-Type: application/xml", f"x-ms-error-code: {code}"]
    words += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(words).encode() + (b"" if method == b"HEAD" else body)


def _general(target: str) -> str:
    """Return a path without what belongs to this run: of folders nothing stays, of a query only the keys."""
    path, _, query = target.partition("?")
    keys = "&".join(sorted(re.sub(r"=.*", "", part) for part in query.split("&"))) if query else ""
    # Ids of saves and uploads, which no two runs share.
    name = re.sub(r"[0-9a-fA-F]{8,}(-[0-9a-fA-F]{4,})*", "*", path.rstrip("/").rpartition("/")[2])
    return f".../{name}" + (f"?{keys}" if keys else "")


def _pair(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
