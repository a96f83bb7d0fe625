"""Bugs that only a network shows which fails, or a store that says no."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from dcp_conformance.harness.backend.record import Backend
from tests.variants import http_store
from tests.variants.http_store import HttpStore, backend_of


class _Deaf(HttpStore):
    """Looks at no answer to what changes the store."""

    def put(self, name: str, content: bytes) -> None:
        with contextlib.suppress(http_store.Denied):
            super().put(name, content)

    def remove(self, name: str) -> None:
        with contextlib.suppress(http_store.Denied):
            super().remove(name)


class _Brittle(HttpStore):
    """A native client that takes a lost connection for a bug of its own."""

    def put(self, name: str, content: bytes) -> None:
        try:
            super().put(name, content)
        except ConnectionError:
            os.abort()


class _DeleteFirst(HttpStore):
    """Makes room for the commit before it puts it."""

    def commit(self, name: str, content: bytes, *, drop: Collection[str]) -> None:
        self.remove(name)
        super().commit(name, content, drop=drop)


class _Silent(HttpStore):
    """Raises an error of its own in place of what went wrong."""

    def put(self, name: str, content: bytes) -> None:
        failed = False
        try:
            super().put(name, content)
        except OSError:
            failed = True
        if failed:
            raise RuntimeError("the save failed")


class _Untidy(http_store.Writer):
    """Clears up after nobody."""

    def clear_up(self) -> None:
        return


class _Patient(HttpStore):
    """Has no time limit for what changes the store: an hour is none."""

    def put(self, name: str, content: bytes) -> None:
        with _for_an_hour():
            super().put(name, content)

    def remove(self, name: str) -> None:
        with _for_an_hour():
            super().remove(name)


@contextlib.contextmanager
def _for_an_hour() -> Iterator[None]:
    limit, http_store.TIMEOUT = http_store.TIMEOUT, 3600.0
    try:
        yield
    finally:
        http_store.TIMEOUT = limit


def _over_http(*, breaks: Sequence[str], writer: Any) -> Backend:
    return backend_of(writer=writer)


def _over(kind: type[HttpStore]) -> Any:
    class _Writer(http_store.Writer):
        def store(self) -> HttpStore:
            return kind(http_store._key(self.root))

    return _Writer


takes_no_for_an_answer = _over_http(breaks=["DUR-15"], writer=_over(_Deaf))
dies_with_its_connection = _over_http(breaks=["DUR-15"], writer=_over(_Brittle))
makes_room_for_its_commit = _over_http(breaks=["DUR-04", "FIN-05"], writer=_over(_DeleteFirst))
waits_for_a_silent_store = _over_http(breaks=["DUR-16"], writer=_over(_Patient))
leaves_what_was_cut_off = _over_http(breaks=["DUR-17"], writer=_Untidy)
swallows_what_the_store_said = _over_http(breaks=["DUR-18"], writer=_over(_Silent))
