"""What a read may cost before it runs: by its method, its gas, its range, and what others of its kind took."""

from __future__ import annotations

import math
from typing import Any

import pytest

from node.rpc import cost
from node.rpc.cost import CHEAP, PART, KnownCosts, ReadPrice, price_of, price_of_gas
from node.rpc.limits import RpcLimits
from node.rpc.methods import load_methods
from node.rpc.registry import known_method

load_methods()
LIMITS = RpcLimits(call_max_s=5.0, call_gas_max=50_000_000)
TO = "0x" + "11" * 20


def most(method: str, *params: Any) -> float:
    return price_of(LIMITS, method, list(params)).most_s


def test_the_tables_name_reads() -> None:
    for name in (*CHEAP, *cost._BOUNDS):
        found = known_method(name)
        assert found is not None, name
        assert not found.is_coroutine, name


@pytest.mark.parametrize(
    ("method", "params", "seconds"),
    [
        ("eth_getBalance", [TO, "latest"], 0.0),
        ("eth_call", [{"to": TO, "gas": "0x61a80"}], 0.02),
        ("eth_call", [{"to": TO, "gasLimit": "0x61a80"}], 0.02),
        ("eth_call", [{"to": TO}], 2.5),
        ("eth_call", [{"to": TO, "gas": "0xffffffffffff"}], 5.0),
        ("eth_call", ["no object"], 5.0),
        ("eth_call", [], 5.0),
        ("eth_estimateGas", [{"to": TO, "gas": "0x61a80"}], 0.32),
        ("debug_traceCall", [{"to": TO, "gas": "0x61a80"}, "latest", {}], 0.5),
        ("debug_traceTransaction", ["0x" + "22" * 32], 5.0),
        ("eth_getLogs", [{"fromBlock": "0x1", "toBlock": "0x64"}], 0.01),
        ("eth_getLogs", [{"fromBlock": "0x1", "toBlock": "0xffffffff"}], 5.0),
        ("eth_getLogs", [{"fromBlock": "earliest"}], 5.0),
        ("eth_getLogs", [{"blockHash": "0x" + "22" * 32}], 0.02),
        ("zvmd_read", ["0x1", "eth_call", [{"to": TO, "gas": "0x61a80"}]], 0.02),
    ],
)
def test_the_most_that_a_request_takes(method: str, params: list[Any], seconds: float) -> None:
    assert most(method, *params) == pytest.approx(seconds)


@pytest.mark.parametrize("method", ["eth_sendRawTransaction", "anvil_mine", "no_method", "zvmd_read"])
def test_writes_and_what_does_not_exist_have_no_price(method: str) -> None:
    assert price_of(LIMITS, method, ["zvmd_read", "zvmd_read", []]) == PART


def test_a_typed_call_has_the_price_of_the_same_call_in_json() -> None:
    for gas, shown in ((400_000, {"gas": "0x61a80"}), (None, {})):
        given = price_of(LIMITS, "eth_call", [{"to": TO} | shown])
        assert price_of_gas(LIMITS, ("eth_call", TO), gas) == given


def test_kinds_are_expected_to_take_what_they_took() -> None:
    costs, price = KnownCosts(), ReadPrice("kind", 1.0)
    assert costs.expected(price) == cost.UNKNOWN_S
    assert costs.expected(PART) == 0.0
    for _ in range(100):
        costs.learn(price, 0.5)
    assert costs.expected(price) == pytest.approx(0.5, rel=0.01)
    assert costs.expected(ReadPrice("kind", 0.1)) == 0.1, "its gas does not pay for more"
    assert costs.expected(ReadPrice("other", math.inf)) == cost.UNKNOWN_S


def test_one_slow_call_among_many_says_little() -> None:
    costs, price = KnownCosts(), ReadPrice("kind", 5.0)
    costs.learn(price, 4.0)
    assert costs.expected(price) < 1.0
    for _ in range(20):
        costs.learn(price, 0.001)
    assert costs.expected(price) < 0.05


def test_the_kind_not_seen_for_the_longest_time_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "KINDS_MAX", 2)
    costs = KnownCosts()
    for kind in ("a", "b", "a", "c"):
        costs.learn(ReadPrice(kind, 5.0), 4.0)
    assert [costs.expected(ReadPrice(kind, 5.0)) > cost.UNKNOWN_S for kind in "abc"] == [True, False, True]
