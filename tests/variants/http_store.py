"""Keeps everything in an object store over HTTP, and gets over a network that fails now and then."""

from __future__ import annotations

import http.client
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcp_conformance.harness.backend.blobs import Blobs
from dcp_conformance.harness.backend.object_store import ADDRESS, Keys, key_of
from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.harness.backend.server_process import ServerProcess, free_ports
from tests.variants import _store

SCHEME = "small-store://"
TRIES, PAUSE, TIMEOUT = 4, 0.05, 8.0
_logger = logging.getLogger(__name__)


class Denied(OSError):
    """The store answered, and not with what was asked for."""


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """Ask the store, again where the network or the store may have been at fault for a moment.

    Raises FileNotFoundError for a key that is not there, Denied for another answer, OSError where there is none.
    """
    for attempt in range(TRIES):
        try:
            return _once(method, path, body)
        except FileNotFoundError:
            raise
        except (OSError, http.client.HTTPException) as error:
            if attempt == TRIES - 1 or (isinstance(error, Denied) and error.args[0] < 429):
                raise error if isinstance(error, OSError) else OSError(f"{method} {path}: {error!r}") from error
            time.sleep(PAUSE * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _once(method: str, path: str, body: bytes) -> bytes:
    connection = http.client.HTTPConnection(os.environ[ADDRESS], timeout=TIMEOUT)
    try:
        connection.request(method, path, body if method == "PUT" else None)
        answer = connection.getresponse()
        data = answer.read()
        if answer.status == 404:
            raise FileNotFoundError(path)
        if answer.status >= 300:
            raise Denied(answer.status, f"{method} {path}: {answer.status} {data.decode(errors='replace')}")
        return data
    finally:
        connection.close()


class HttpStore:
    """Named objects below a key, as _store.Store has them. A commit is one PUT; what it replaces goes afterwards."""

    def __init__(self, key: str) -> None:
        self.key = key

    def put(self, name: str, content: bytes) -> None:
        """See _store.Store."""
        request("PUT", f"/{self.key}/{name}", content)

    def get(self, name: str) -> bytes:
        """See _store.Store."""
        return request("GET", f"/{self.key}/{name}")

    def commit(self, name: str, content: bytes, *, drop: Collection[str]) -> None:
        """See _store.Store."""
        self.put(name, content)
        for old in drop:
            self.remove(old)

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        request("DELETE", f"/{self.key}/{name}")

    def names(self) -> list[str]:
        """See _store.Store."""
        return [name for name in self.everything() if name.startswith("commit")]

    def everything(self) -> list[str]:
        """Names of all objects."""
        keys = json.loads(request("GET", f"/{self.key}/?list"))
        return [key.removeprefix(f"/{self.key}/") for key in keys]


class Writer(_store.Writer):
    """Says which save is under way, so that the next one can clear up after one whose process is gone."""

    def __init__(self, checkpoint_id: str) -> None:
        super().__init__(_place(checkpoint_id))

    def store(self) -> HttpStore:
        return HttpStore(_key(self.root))

    def reset(self, checkpoint_id: Any = None) -> None:
        super().reset(_place(checkpoint_id) if checkpoint_id else None)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        if is_coordinator:
            if self.commit_name() in self.store().names():
                _logger.warning("%s holds a checkpoint, which this save replaces", self.root)
            self.clear_up()
            self.store().put(self._under_way(), b"")

    def clear_up(self) -> None:
        """Remove the objects of saves whose process has ended before their commit."""
        store, names = self.store(), self.store().everything()
        for mark in [name for name in names if name.startswith("under-way-")]:
            _, _, save_id, process = mark.split("-")
            if not os.path.exists(f"/proc/{process}"):
                committed = {name for commit in store.names() for name in self._objects_of(store, commit)}
                for name in {name for name in names if name.startswith(save_id)} - committed:
                    store.remove(name)
                store.remove(mark)

    def finish(self, metadata: Any, results: Any) -> None:
        mark = self._under_way()
        super().finish(metadata, results)
        self.store().remove(mark)

    def _under_way(self) -> str:
        return f"under-way-{self.save_id}-{os.getpid()}"

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return str(checkpoint_id).startswith(SCHEME)


class Reader(_store.Reader):
    """Gets what Writer put."""

    def __init__(self, checkpoint_id: str) -> None:
        super().__init__(_place(checkpoint_id))

    def store(self) -> HttpStore:
        return HttpStore(_key(self.root))

    def reset(self, checkpoint_id: Any = None) -> None:
        super().reset(_place(checkpoint_id) if checkpoint_id else None)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return str(checkpoint_id).startswith(SCHEME)


class HttpBlobs(Keys):
    """The objects of a checkpoint, by the same requests."""

    def _list(self) -> list[str]:
        return [key.removeprefix("/") for key in json.loads(request("GET", f"/{self._prefix}?list"))]

    def _get(self, key: str) -> bytes:
        return request("GET", f"/{key}")

    def _put(self, key: str, data: bytes) -> None:
        request("PUT", f"/{key}", data)

    def _remove(self, key: str) -> None:
        request("DELETE", f"/{key}")


class SmallStore:
    """The server of _http_server.py, as an ObjectStore."""

    def __init__(self) -> None:
        self._port = 0
        self._server = ServerProcess(self._command, self.alive)

    def start(self) -> Mapping[str, str]:
        """See ObjectStore."""
        [self._port] = free_ports(1)
        self._server.start()
        return {ADDRESS: f"127.0.0.1:{self._port}"}

    def stop(self) -> None:
        """See ObjectStore."""
        self._server.stop()

    def restart(self) -> None:
        """See ObjectStore."""
        self._server.start()

    def alive(self) -> bool:
        """See ObjectStore."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/?list")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def new_checkpoint_id(self, scratch: str, name: str) -> str:
        """See ObjectStore."""
        return SCHEME + key_of(scratch, name)

    def blobs(self, checkpoint_id: str) -> Blobs:
        """See ObjectStore."""
        return HttpBlobs(checkpoint_id.removeprefix(SCHEME))

    def discard(self, checkpoint_id: str) -> bool:
        """See ObjectStore."""
        found = self.blobs(checkpoint_id)
        for name in found.names():
            found.delete(name)
        return True

    def _command(self, folder: Path) -> Sequence[str]:
        return [sys.executable, str(Path(__file__).with_name("_http_server.py")), str(self._port)]


def _place(checkpoint_id: Any) -> str:
    text = str(checkpoint_id)
    if not text.startswith(SCHEME):
        raise ValueError(f"{text!r} is no checkpoint id of this store: it has to begin with {SCHEME}")
    # The pair that this one is made of keeps a path; none that is there may get in its way.
    return f"/dev/null/{text.removeprefix(SCHEME)}"


def _key(root: Path) -> str:
    return str(root.relative_to("/dev/null"))


def backend_of(*, writer: Callable[..., Any] = Writer, reader: Callable[..., Any] = Reader) -> Backend:
    """A pair over a small store of its own."""
    return Backend(writer=writer, reader=reader, store=SmallStore(), unsupported=_store.UNSUPPORTED)


backend = backend_of()
