"""The proxy between a backend and its store: each fault hits the request that it was armed for."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator

import pytest

from dcp_conformance.harness.backend.object_store import ADDRESS
from dcp_conformance.harness.faults.network import KINDS, NetworkFault, NetworkProxy
from tests.variants.http_store import SmallStore

BODY = b"x" * 1000


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of a small store."""
    server = SmallStore()
    try:
        yield server.start()[ADDRESS]
    finally:
        server.stop()


@pytest.fixture
def proxy(store: str) -> Iterator[NetworkProxy]:
    with NetworkProxy(store) as proxy:
        yield proxy


def ask(address: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """One request on a connection of its own: status and body."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_without_a_fault_all_is_passed_on_and_noted(proxy: NetworkProxy, store: str) -> None:
    assert ask(proxy.address, "PUT", "/plain/a", BODY) == (200, b"")
    assert ask(proxy.address, "GET", "/plain/a") == (200, BODY)
    assert [str(each) for each in proxy.requests] == ["PUT .../a", "GET .../a"]
    assert proxy.requests[0].size == len(BODY) and proxy.hit is None
    assert ask(store, "GET", "/plain/a") == (200, BODY)


@pytest.mark.parametrize("kind", ("refused", "cut", "answer lost", "down"))
def test_connection_is_lost_at_the_request_that_was_named(proxy: NetworkProxy, store: str, kind: str) -> None:
    proxy.arm(NetworkFault(kind=kind, number=2))
    ask(proxy.address, "PUT", f"/{kind[:3]}/first", BODY)
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(proxy.address, "PUT", f"/{kind[:3]}/second", BODY)
    assert str(proxy.hit) == "PUT .../second"
    assert ask(store, "GET", f"/{kind[:3]}/second")[0] == (200 if kind == "answer lost" else 404)
    if kind == "down":
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(proxy.address, "GET", "/third")
    else:
        assert ask(proxy.address, "PUT", f"/{kind[:3]}/third", BODY)[0] == 200


def test_answer_is_cut_short(proxy: NetworkProxy, store: str) -> None:
    ask(store, "PUT", "/short", BODY)
    proxy.arm(NetworkFault(kind="answer cut", number=1))
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(proxy.address, "GET", "/short")


@pytest.mark.parametrize(("kind", "status"), (("busy", 503), ("limited", 429), ("broken", 500), ("expired", 403)))
def test_store_denies_for_a_while_or_for_ever(proxy: NetworkProxy, kind: str, status: int) -> None:
    proxy.arm(NetworkFault(kind=kind, number=1))
    said = [ask(proxy.address, "PUT", f"/{kind}", BODY)[0] for _ in range(3)]
    assert said == [status, status, 200 if kind in ("busy", "limited") else status]


def test_silence_lasts_until_the_client_gives_up(proxy: NetworkProxy) -> None:
    proxy.arm(NetworkFault(kind="silent", number=1))
    connection = http.client.HTTPConnection(proxy.address, timeout=0.3)
    connection.request("GET", "/silent")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()


def test_every_kind_of_fault_has_its_words() -> None:
    assert all(words and words[0].islower() for words in KINDS.values())


def test_a_proxy_that_was_closed_takes_no_connection(store: str) -> None:
    with NetworkProxy(store) as proxy:
        address = proxy.address
    with pytest.raises(OSError):
        ask(address, "GET", "/gone")
    assert os.environ.get(ADDRESS) is None, "only ranks are told where a store is"
