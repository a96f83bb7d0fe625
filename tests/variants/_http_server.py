"""The smallest object store over HTTP: PUT, GET, DELETE of a key, and a list of the keys below a prefix.

    python -m tests.variants._http_server PORT

Keys live in memory. A PUT that does not arrive whole leaves nothing, and replaces what was there in one step.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_objects: dict[str, bytes] = {}
_lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with _lock:
            if self.path.endswith("?list"):
                prefix = self.path.removesuffix("?list")
                found: bytes | None = json.dumps([key for key in _objects if key.startswith(prefix)]).encode()
            else:
                found = _objects.get(self.path)
        self._answer(404, b"NoSuchKey") if found is None else self._answer(200, found)

    def do_PUT(self) -> None:
        size = int(self.headers["Content-Length"])
        data = self.rfile.read(size)
        if len(data) == size:
            with _lock:
                _objects[self.path] = data
            self._answer(200, b"")

    def do_DELETE(self) -> None:
        with _lock:
            _objects.pop(self.path, None)
        self._answer(204, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: standard error is a log that nobody reads."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler)
    server.daemon_threads = True
    server.serve_forever()
