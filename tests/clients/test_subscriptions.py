"""``eth_subscribe`` beyond new heads: receipts as geth 1.16 sends them, and resuming behind a cursor."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from tests.clients.test_websocket import ask
from tests.daemon import Daemon
from tests.rpc import Rpc

LOGGER = "0x6006600c60003960066000f3" + "60005f5fa100"
"""Logs its first byte of nothing under the topic 0 at each call."""
FRIEND = "0x" + "f1" * 20


def tried(daemon: Daemon, work: Callable[[ClientConnection, Rpc], Coroutine[Any, Any, None]]) -> None:
    async def connected() -> None:
        async with websockets.connect(daemon.http_url.replace("http", "ws") + "/ws") as socket:
            await asyncio.wait_for(work(socket, daemon.rpc()), 60)

    asyncio.run(connected())


async def event(socket: ClientConnection) -> dict[str, Any]:
    """The parameters of the next notification."""
    params: dict[str, Any] = json.loads(await socket.recv())["params"]
    return params


def send(rpc: Rpc, to: str | None, data: str = "0x") -> str:
    sent: str = rpc.call("eth_sendTransaction", {"from": rpc.call("eth_accounts")[0], "to": to, "data": data})
    return sent


def logger(rpc: Rpc) -> str:
    created: str = rpc.call("eth_getTransactionReceipt", send(rpc, None, LOGGER))["contractAddress"]
    return created


def test_receipts_of_all_or_of_some(daemon: Daemon) -> None:
    async def work(socket: ClientConnection, rpc: Rpc) -> None:
        every = await ask(socket, "eth_subscribe", "transactionReceipts")
        rpc.call("evm_mine")  # without a transaction: nothing is sent of it
        sent = send(rpc, FRIEND)
        got = await event(socket)
        assert got == {"subscription": every, "result": [rpc.call("eth_getTransactionReceipt", sent)]}
        assert await ask(socket, "eth_unsubscribe", every) is True

        rpc.call("evm_setAutomine", False)
        first, second = send(rpc, FRIEND), send(rpc, FRIEND)
        options = {"transactionHashes": [second, "0x" + "00" * 32]}
        some = await ask(socket, "eth_subscribe", "transactionReceipts", options)
        rpc.call("evm_mine")
        got = await event(socket)
        assert got["subscription"] == some
        assert [receipt["transactionHash"] for receipt in got["result"]] == [second]
        assert got["result"] == [rpc.call("eth_getTransactionReceipt", second)]
        assert rpc.call("eth_getTransactionReceipt", first)["blockNumber"] == got["result"][0]["blockNumber"]

    tried(daemon, work)


@pytest.mark.parametrize(
    "options",
    [
        {"transactionHashes": "0x" + "00" * 32}, {"transactionHashes": ["0x00"]}, {"cursor": 1}, {"cursor": [1]},
        {"cursor": [1, -1]}, {"cursor": [True, 0]}, {"cursor": [2**64, 0]}, {"cursor": ["one", 0]}, [],
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant(daemon: Daemon, options: Any) -> None:
    async def work(socket: ClientConnection, _: Rpc) -> None:
        assert (await ask(socket, "eth_subscribe", "transactionReceipts", options))["code"] == -32602

    tried(daemon, work)


def test_too_many_hashes(daemon: Daemon) -> None:
    async def work(socket: ClientConnection, _: Rpc) -> None:
        hashes = [f"0x{number:064x}" for number in range(201)]
        refused = await ask(socket, "eth_subscribe", "transactionReceipts", {"transactionHashes": hashes})
        assert refused["data"]["code"] == "rpc.limit"
        as_many = {"transactionHashes": hashes[:200]}
        assert (await ask(socket, "eth_subscribe", "transactionReceipts", as_many)).startswith("0x")

    tried(daemon, work)


def test_the_pool_has_no_cursor(daemon: Daemon) -> None:
    async def work(socket: ClientConnection, _: Rpc) -> None:
        refused = await ask(socket, "eth_subscribe", "newPendingTransactions", {"cursor": None})
        assert refused["code"] == -32602

    tried(daemon, work)


def test_logs_go_on_behind_their_cursor_on_another_connection(daemon: Daemon) -> None:
    rpc = daemon.rpc()
    contract = logger(rpc)
    for _ in range(3):
        send(rpc, contract)
    seen: list[Any] = []

    async def first(socket: ClientConnection, rpc: Rpc) -> None:
        await ask(socket, "eth_subscribe", "logs", {"address": contract, "cursor": [0, 0]})
        got = [await event(socket) for _ in range(2)]
        assert [note["result"]["blockNumber"] for note in got] == ["0x2", "0x3"]
        assert [note["cursor"] for note in got] == [[2, 0], [3, 0]]
        seen.append(got[-1]["cursor"])

    async def second(socket: ClientConnection, rpc: Rpc) -> None:
        await ask(socket, "eth_subscribe", "logs", {"address": contract, "cursor": seen[0]})
        send(rpc, contract)
        got = [await event(socket) for _ in range(2)]
        assert [note["result"]["blockNumber"] for note in got] == ["0x4", "0x5"]

    tried(daemon, first)
    tried(daemon, second)


def test_heads_and_receipts_go_on_behind_their_cursors(daemon: Daemon) -> None:
    async def work(socket: ClientConnection, rpc: Rpc) -> None:
        await ask(socket, "eth_subscribe", "newHeads", {"cursor": None})
        rpc.call("evm_mine")
        begun = await event(socket)
        sent = [send(rpc, FRIEND), send(rpc, FRIEND)]
        got = [await event(socket) for _ in range(2)]
        assert [note["result"]["number"] for note in (begun, *got)] == ["0x1", "0x2", "0x3"]
        cursor = json.loads(json.dumps(begun["cursor"]))
        assert cursor == [1, 2**53 - 1]
        await ask(socket, "eth_subscribe", "newHeads", {"cursor": cursor})
        assert [(await event(socket))["result"]["number"] for _ in range(2)] == ["0x2", "0x3"]
        await ask(socket, "eth_subscribe", "transactionReceipts", {"cursor": ["0x1", "0x0"]})
        receipts = [(await event(socket))["result"] for _ in range(2)]
        assert [receipt["transactionHash"] for block in receipts for receipt in block] == sent

    tried(daemon, work)


def test_nobody_gets_a_cursor_who_did_not_ask(daemon: Daemon) -> None:
    async def work(socket: ClientConnection, rpc: Rpc) -> None:
        for kind in ("newHeads", "transactionReceipts", "newPendingTransactions"):
            await ask(socket, "eth_subscribe", kind)
        send(rpc, FRIEND)
        assert [set(await event(socket)) for _ in range(3)] == [{"subscription", "result"}] * 3

    tried(daemon, work)
