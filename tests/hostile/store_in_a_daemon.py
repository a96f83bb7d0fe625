"""Keeps what it is given in the memory of a process that outlives its ranks, and that answers at an abstract socket."""

from __future__ import annotations

import os
import pickle
import socket
from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = {**control.UNSUPPORTED, "multi_process": "one rank", "stored_bytes": "none"}
ADDRESS = "\0dcp-" + os.environ.get("DCP_HOSTILE", "hostile")
LASTS = 60.0


def _serve(listener: socket.socket) -> None:
    kept: dict[str, bytes] = {}
    listener.settimeout(LASTS)
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as stream:
            name, content = pickle.load(stream)
            if content is not None:
                kept[name] = content
            pickle.dump(kept.get(name), stream)


def _asked(name: str, content: bytes | None = None) -> Any:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ADDRESS)
        with connection.makefile("rwb") as stream:
            pickle.dump((name, content), stream)
            stream.flush()
            return pickle.load(stream)


def _started() -> None:
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(ADDRESS)
    except OSError:
        return  # it runs
    listener.listen()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _serve(listener)
        os._exit(0)
    os.wait()


class Writer(control.Writer):
    """Sends the file that commits to the daemon, and leaves a note on the disk."""

    def finish(self, metadata: Any, results: Any) -> None:
        _started()
        super().finish(metadata, results)
        for path in [path for path in self._root.rglob("*") if path.is_file()]:
            _asked(str(path), path.read_bytes())
            path.write_text("at the daemon's")


class Reader(control.Reader):
    """Gets the files back before it reads them."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        for path in [path for path in self._root.rglob("*") if path.is_file()]:
            if path.read_bytes() == b"at the daemon's":
                path.write_bytes(_asked(str(path)) or b"")
        return super().read_metadata(*args, **kwargs)
