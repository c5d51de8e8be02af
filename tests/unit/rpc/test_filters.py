"""Polling filters: a client that polls keeps its own, however many others are installed."""

from __future__ import annotations

import pytest

from node.rpc.errors import UnknownFilter
from node.rpc.filters import Filter, FilterStore


def installed(store: FilterStore, now: float) -> int:
    return store.add(Filter("blocks", 0), now)


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
