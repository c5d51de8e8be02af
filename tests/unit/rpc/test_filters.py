"""Polling filters: a client that polls keeps its own, however many others are installed."""

from __future__ import annotations

import pytest

from node.rpc.caller import GUEST, LOCAL, Caller, on_connection
from node.rpc.errors import UnknownFilter
from node.rpc.filters import Filter, FilterStore, owner_of


def installed(store: FilterStore, now: float, caller: Caller = LOCAL) -> int:
    return store.add(Filter("blocks", 0, owner_of(caller)), now)


def at(address: str, token_id: str | None = None, caller: Caller = GUEST) -> Caller:
    return caller._replace(address=address, token_id=token_id)


def test_a_flood_of_filters_takes_only_its_own_places() -> None:
    store = FilterStore(16, 300)
    polled = [installed(store, 0) for _ in range(4)]
    for key in polled:
        store.get(key, 1)
    flood = [installed(store, 2 + number / 1000) for number in range(1_000)]
    assert len(store) == 16
    for key in polled:
        store.get(key, 4)
    for key in flood[-12:]:
        store.get(key, 4)
    with pytest.raises(UnknownFilter):
        store.get(flood[-13], 4)


def test_among_those_polled_the_one_not_polled_for_longest_goes() -> None:
    store = FilterStore(3, 300)
    keys = [installed(store, 0) for _ in range(3)]
    for now, key in enumerate((keys[1], keys[0], keys[2], keys[1]), 1):
        store.get(key, now)
    installed(store, 10)
    with pytest.raises(UnknownFilter):
        store.get(keys[0], 11)
    store.get(keys[1], 11)
    store.get(keys[2], 11)


def test_what_nobody_polls_goes_in_time() -> None:
    store = FilterStore(3, 300)
    key = installed(store, 0)
    store.get(key, 300)
    with pytest.raises(UnknownFilter):
        store.get(key, 601)
    assert store.remove(key) is False
    installed(store, 1_000)
    assert len(store) == 1


SOCKET = on_connection(at("127.0.0.1", caller=LOCAL))
GREEDY_AND_MODEST = {
    "tokens": (at("10.0.0.1", "a"), at("10.0.0.1", "b")),
    "a token and its machine": (at("127.0.0.1", "a"), at("127.0.0.1", caller=LOCAL)),
    "addresses": (at("10.0.0.1"), at("10.0.0.2")),
    "networks": (at("2001:db8::1"), at("2001:db8:0:1::1")),
    "another machine and this one": (at("10.0.0.1"), at("127.0.0.1", caller=LOCAL)),
    "pages and programs of this machine": (at("127.0.0.1"), at("127.0.0.1", caller=LOCAL)),
    "a connection that stays and HTTP": (SOCKET, at("127.0.0.1", caller=LOCAL)),
    "HTTP and a connection that stays": (at("127.0.0.1", caller=LOCAL), SOCKET),
    "connections that stay": (SOCKET, on_connection(SOCKET)),
}


@pytest.mark.parametrize("case", GREEDY_AND_MODEST)
def test_a_caller_makes_room_for_others_with_its_own(case: str) -> None:
    """Also of filters that it polls more often than the other one, who has polled none yet."""
    greedy, modest = GREEDY_AND_MODEST[case]
    store = FilterStore(16, 300)
    kept = [installed(store, 0, modest) for _ in range(3)]
    for number in range(100):
        store.get(installed(store, number / 100, greedy), 1 + number / 100)
    assert len(store) == 16
    more = [installed(store, 3, modest) for _ in range(4)]
    for key in kept + more:
        store.get(key, 4)


def test_many_connections_of_one_caller_take_no_more_than_one() -> None:
    store = FilterStore(16, 300)
    kept = [installed(store, 0, at("10.0.0.2")) for _ in range(5)]
    for number in range(100):
        installed(store, 1 + number / 100, on_connection(at("10.0.0.1")))
    for key in kept:
        store.get(key, 4)


def test_requests_over_http_find_each_others_filters() -> None:
    """web3.py and ethers poll over whatever connection their pool has."""
    store = FilterStore(4, 300)
    keys = [installed(store, number, at("127.0.0.1", caller=LOCAL)) for number in range(4)]
    for key in keys:
        store.get(key, 10)
    assert {found.owner for found in store._filters.values()} == {owner_of(LOCAL)}
