"""A node with the short road of reads and one without: the same answers, and the loop is used or not."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contracts import dev_account
from tests.daemon import Daemon

STORES = "0x602a60005560098060125f395ff35f545f5260205ff3"
"""Deploys code that returns its slot 0, which is 42."""
LOOP = {"0x" + "11" * 20: {"code": "0x5b600056"}}
X = "0x" + "11" * 20
BLOCK_HASH = re.compile(rb'"blockHash":"0x[0-9a-f]{64}"')
"""The nodes' genesis blocks have other times."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon]]:
    folder = tmp_path_factory.mktemp("short-road")
    options = {"ZVMD_LIMITS__CALL_SECONDS": "0.2", "ZVMD_LIMITS__ANSWER_CACHE_BYTES": "0"}
    short = Daemon(folder / "short", environment=options)
    long = Daemon(folder / "long", environment=options | {"ZVMD_LIMITS__SHORT_ROAD": "false"})
    for daemon in (short, long):
        daemon.start()
    yield short, long
    for daemon in (short, long):
        daemon.close()


def answer(daemon: Daemon, method: str, params: list[Any]) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(daemon.http_url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as found:
        return bytes(found.read())


def requests(contract: str, sent: str) -> list[tuple[str, list[Any]]]:
    me = dev_account(0).address
    return [
        ("eth_call", [{"to": contract}, "latest"]),
        ("eth_call", [{"to": contract, "data": "0x00"}]),
        ("eth_call", [{"to": contract, "gas": "0x5208"}, "latest"]),
        ("eth_call", [{"to": contract, "gas": "0x5000"}, "latest"]),
        ("eth_call", [{"from": me, "to": contract, "value": "0x1"}, "latest"]),
        ("eth_call", [{"from": me, "to": contract, "gasPrice": "0x1"}, "latest"]),
        ("eth_call", [{"to": contract}, "pending"]),
        ("eth_call", [{"to": contract}, "0x0"]),
        ("eth_call", [{"to": contract}, "0xffff"]),
        ("eth_call", [{"to": me}, "latest"]),
        ("eth_call", [{"to": "0x" + "00" * 19 + "02", "data": "0x01"}, "latest"]),
        ("eth_call", [{"to": X}, "latest", LOOP]),
        ("eth_getBalance", [me, "latest"]),
        ("eth_getBalance", ["0x12", "latest"]),
        ("eth_getTransactionCount", [me, "pending"]),
        ("eth_getCode", [contract, "latest"]),
        ("eth_getStorageAt", [contract, "0x0", "latest"]),
        ("eth_getTransactionReceipt", [sent]),
        ("eth_getTransactionReceipt", ["0x" + "00" * 32]),
    ]


def test_answers_are_the_same_and_the_switch_switches(nodes: tuple[Daemon, Daemon]) -> None:
    places = []
    for daemon in nodes:
        rpc = daemon.rpc()
        rpc.call("evm_setNextBlockTimestamp", 2_000_000_000)
        sent = rpc.call("eth_sendTransaction", {"from": dev_account(0).address, "data": STORES, "gas": "0x100000"})
        places.append((rpc.call("eth_getTransactionReceipt", sent)["contractAddress"], sent))
    assert places[0] == places[1]
    for method, params in requests(*places[0]):
        for _ in range(2):  # the second time from memory
            answers = [BLOCK_HASH.sub(b"", answer(daemon, method, params)) for daemon in nodes]
            assert answers[0] == answers[1], (method, params)
    done = [daemon.rpc().call("zvmd_status")["briefReads"]["done"] for daemon in nodes]
    assert done[0] > 20
    assert done[1] == 0


def test_a_call_that_goes_on_is_given_up_on_the_loop_and_ends_with_its_error(nodes: tuple[Daemon, Daemon]) -> None:
    short, _ = nodes
    before = short.rpc().call("zvmd_status")["briefReads"]["left"]
    other = "0x" + "22" * 20
    found = json.loads(answer(short, "eth_call", [{"to": other}, "latest", {other: {"code": "0x5b600056"}}]))
    assert "timeout" in found["error"]["message"] or "out of gas" in found["error"]["message"], found
    assert short.rpc().call("zvmd_status")["briefReads"]["left"] > before
