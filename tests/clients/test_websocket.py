"""JSON-RPC and subscriptions over WebSocket, with the ``websockets`` library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

from tests.conftest import Node


def run(node: Node, work: Callable[[ClientConnection], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def connected() -> None:
        async with websockets.connect(node.http_url.replace("http", "ws") + "/ws", **options) as socket:
            await asyncio.wait_for(work(socket), 30)

    asyncio.run(connected())


async def ask(socket: ClientConnection, method: str, *params: Any) -> Any:
    await socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    while True:
        answer = json.loads(await socket.recv())
        if "id" in answer:
            return answer.get("result", answer.get("error"))


def test_requests_and_new_heads(node: Node) -> None:
    async def work(socket: ClientConnection) -> None:
        assert await ask(socket, "eth_chainId") == "0x7a69"
        subscription = await ask(socket, "eth_subscribe", "newHeads")
        assert subscription.startswith("0x")
        await asyncio.to_thread(node.rpc().call, "evm_mine")
        event = json.loads(await socket.recv())
        assert event["method"] == "eth_subscription"
        assert event["params"]["subscription"] == subscription
        assert int(event["params"]["result"]["number"], 16) > 0
        assert await ask(socket, "eth_unsubscribe", subscription) is True
        assert await ask(socket, "eth_unsubscribe", subscription) is False

    run(node, work)


def test_a_batch_subscribes_unsubscribes_and_hears_nothing_before_its_answer(node: Node) -> None:
    async def work(socket: ClientConnection) -> None:
        calls = [("eth_subscribe", ["newHeads"]), ("evm_mine", []), ("eth_subscribe", ["nothing"]),
                 ("eth_subscribe", ["syncing"]), ("eth_unsubscribe", ["0x1"]), ("eth_chainId", [])]  # fmt: skip
        batch = [
            {"jsonrpc": "2.0", "id": at, "method": name, "params": given} for at, (name, given) in enumerate(calls)
        ]
        await socket.send(json.dumps(batch))
        answers = json.loads(await socket.recv())
        assert [answer["id"] for answer in answers] == list(range(len(calls)))
        assert answers[2]["error"]["code"] == -32602
        assert (answers[4]["result"], answers[5]["result"]) == (False, "0x7a69")
        event = json.loads(await socket.recv())["params"]
        assert event["subscription"] == answers[0]["result"]
        assert await ask(socket, "eth_unsubscribe", answers[3]["result"]) is True
        both = [{"jsonrpc": "2.0", "id": 1, "method": "eth_unsubscribe", "params": [answers[0]["result"]]}] * 2
        await socket.send(json.dumps(both))
        assert [answer["result"] for answer in json.loads(await socket.recv())] == [True, False]

    run(node, work)


def test_errors(node: Node) -> None:
    async def work(socket: ClientConnection) -> None:
        assert (await ask(socket, "eth_subscribe", "nothing"))["code"] == -32602
        assert (await ask(socket, "eth_subscribe", "logs", {"topics": 1}))["code"] == -32602
        assert (await ask(socket, "eth_subscribe", "logs", {"address": 1}))["code"] == -32602
        assert (await ask(socket, "eth_subscribe", "logs", {"fromBlock": "0x0", "nope": 1})).startswith("0x")
        assert (await ask(socket, "eth_nope"))["code"] == -32601
        await socket.send("{")
        assert json.loads(await socket.recv())["error"]["code"] == -32700

    run(node, work)
