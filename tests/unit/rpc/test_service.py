"""JSON-RPC 2.0 semantics: single, batch, notification, errors, the order of writes and reads in a batch."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from eth_account import Account

from chain.blocks import Header
from chain.transactions import Transaction, encode_transaction, sign_transaction
from chain.types import Address
from node.rpc import service as service_module
from node.rpc.caller import Caller
from node.rpc.cost import ReadPrice, price_of
from node.rpc.dispatch import Body
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from node.rpc.work import LARGE_READS, ConnectedClient
from storage.blocks.rewinds import Rewinds
from tests.unit.rpc.held_backend import Held
from tests.unit.rpc.memory_backend import CRASHING, DEV, REVERTING, SECRET, MemoryBackend, rpc_service

ALICE = "0x" + "aa" * 20


def exchange(*bodies: object, limits: RpcLimits | None = None) -> list[Any]:
    """Answers of one node to several bodies in a row."""

    async def run() -> list[Any]:
        service = rpc_service(MemoryBackend(), limits)
        try:
            answers = []
            for body in bodies:
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                answer = await service.answer(raw)
                answers.append(None if answer is None else json.loads(answer))
            return answers
        finally:
            service.close()

    return asyncio.run(run())


def request(method: str, *params: Any, **extra: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)} | extra


def result(method: str, *params: Any) -> Any:
    (answer,) = exchange(request(method, *params))
    return answer["result"]


def error(method: str, *params: Any) -> dict[str, Any]:
    (answer,) = exchange(request(method, *params))
    assert answer["id"] == 1
    found: dict[str, Any] = answer["error"]
    return found


def raw_transaction(nonce: int, to: Address | None = DEV) -> str:
    tx = Transaction(2, 31337, nonce, 0, 1, 10**10, 21_000, to, 0, b"")
    return "0x" + encode_transaction(sign_transaction(tx, SECRET)).hex()


def test_a_single_request() -> None:
    assert exchange(request("eth_chainId", id="x")) == [{"jsonrpc": "2.0", "id": "x", "result": "0x7a69"}]
    assert exchange({"jsonrpc": "2.0", "id": None, "method": "net_version"})[0]["result"] == "31337"


def test_parameters_by_name() -> None:
    (answer,) = exchange(request("eth_getBalance") | {"params": {"address": ALICE, "block": "latest"}})
    assert answer["result"] == hex(10**18)


def test_notifications_are_not_answered() -> None:
    call = request("eth_chainId")
    del call["id"]
    assert exchange(call, [call, call]) == [None, None]
    (answers,) = exchange([call, request("eth_chainId", id=7)])
    assert [answer["id"] for answer in answers] == [7]


@pytest.mark.parametrize(
    "body", [[], 1, "x", {}, {"jsonrpc": "1.0"}, request("a", id=[]), request("a") | {"params": 3}]
)
def test_invalid_requests(body: object) -> None:
    (answer,) = exchange(body)
    assert answer["error"]["code"] == -32600
    assert answer["error"]["data"]["hint"]


def test_a_batch_answers_in_order_and_mixes_errors() -> None:
    (answers,) = exchange([request("eth_chainId", id=1), 5, request("nope", id=2), request("eth_accounts", id=3)])
    assert [answer["id"] for answer in answers] == [1, None, 2, 3]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, -32600, -32601, None]


def test_reads_of_a_batch_see_the_writes_before_them() -> None:
    batch = [
        request("eth_blockNumber", id=0),
        request("eth_sendRawTransaction", raw_transaction(0), id=1),
        request("eth_sendRawTransaction", raw_transaction(1), id=2),
        request("eth_blockNumber", id=3),
        request("evm_mine", id=4),
        request("eth_blockNumber", id=5),
    ]
    (answers,) = exchange(batch)
    assert [answers[i]["result"] for i in (0, 3, 5)] == ["0x0", "0x2", "0x3"]


def test_unknown_methods_get_a_suggestion() -> None:
    found = error("eth_getBalanc", ALICE)
    assert found["code"] == -32601
    assert "eth_getBalance" in found["message"]


@pytest.mark.parametrize(
    "params",
    [
        [],
        [1],
        ["0x12"],
        [ALICE, "0x01"],
        [ALICE, "newest"],
        [ALICE, {"blockNumber": "0x0", "blockHash": "0x" + "00" * 32}],
        [ALICE, "latest", 1],
        [ALICE, "0x" + "f" * 20],
    ],
)
def test_bad_parameters_are_named(params: list[Any]) -> None:
    found = error("eth_getBalance", *params)
    assert found["code"] == -32602
    assert "eth_getBalance" in found["message"]
    assert found["data"]["code"] == "rpc.params"


@pytest.mark.parametrize(
    "fields",
    [
        {"value": 1},
        {"data": "0x1"},
        {"data": "0x01", "input": "0x02"},
        {"gasPrice": "0x1", "maxFeePerGas": "0x1"},
    ],
)
def test_bad_transaction_objects(fields: dict[str, Any]) -> None:
    assert error("eth_call", fields)["code"] == -32602


def test_unknown_blocks() -> None:
    assert error("eth_getBalance", ALICE, "0x99")["data"]["code"] == "rpc.unknown_block"
    assert result("eth_getBlockByNumber", "0x99", False) is None


def test_a_revert_carries_its_data_where_libraries_look() -> None:
    found = error("eth_call", {"to": "0x" + REVERTING.hex()})
    assert (found["code"], found["message"]) == (3, "execution reverted: no way")
    assert found["data"].startswith("0x08c379a0")
    assert error("eth_estimateGas", {"to": "0x" + REVERTING.hex()})["code"] == 3


def test_a_bug_is_an_internal_error_and_the_node_goes_on() -> None:
    answers = exchange(request("eth_call", {"to": "0x" + CRASHING.hex()}), request("eth_chainId"))
    assert answers[0]["error"]["code"] == -32603
    assert answers[1]["result"] == "0x7a69"


def test_limits() -> None:
    limits = RpcLimits(batch_size_max=2, body_size_max_bytes=1000, answer_size_max_bytes=100)
    too_many, too_long, too_big = exchange(
        [request("eth_chainId")] * 3, b" " * 1001, request("rpc_methods"), limits=limits
    )
    assert too_many["error"]["code"] == -32600
    assert too_long["error"]["code"] == -32600
    assert too_big["error"]["code"] == -32005


def test_sending_twice_and_malformed_bytes() -> None:
    sent, again, bad = exchange(
        request("eth_sendRawTransaction", raw_transaction(0)),
        request("eth_sendRawTransaction", raw_transaction(0)),
        request("eth_sendRawTransaction", "0x02c0"),
    )
    assert len(sent["result"]) == 66
    assert again["error"]["data"]["code"] == "tx.nonce_low"
    assert bad["error"]["data"]["code"] == "tx.malformed"


def test_typed_data_is_signed_as_eth_account_does() -> None:
    domain = [{"name": "name", "type": "string"}, {"name": "chainId", "type": "uint256"}]
    message = {
        "types": {"EIP712Domain": domain, "Mail": [{"name": "text", "type": "string"}]},
        "primaryType": "Mail",
        "domain": {"name": "Test", "chainId": 31337},
        "message": {"text": "hello"},
    }
    signature = result("eth_signTypedData_v4", "0x" + DEV.hex(), message)
    expected = Account.sign_typed_data(SECRET, full_message=message).signature
    assert signature == "0x" + bytes(expected).hex()
    assert result("eth_signTypedData_v4", "0x" + DEV.hex(), json.dumps(message)) == signature
    assert error("eth_signTypedData_v4", "0x" + DEV.hex(), {"types": {}})["code"] == -32602


def test_filters_report_changes_once() -> None:
    async def run() -> list[Any]:
        service = rpc_service(MemoryBackend())

        async def call(method: str, *params: Any) -> Any:
            return await service.call(method, list(params))

        logs, blocks = await call("eth_newFilter", {"address": ALICE}), await call("eth_newBlockFilter")
        pending = await call("eth_newPendingTransactionFilter")
        digest = await call("eth_sendRawTransaction", raw_transaction(0))
        first = [await call("eth_getFilterChanges", key) for key in (logs, blocks, pending)]
        second = [await call("eth_getFilterChanges", key) for key in (logs, blocks, pending)]
        assert (len(first[0]), len(first[1]), first[2]) == (1, 1, [digest])
        assert second == [[], [], []]
        assert await call("eth_getFilterLogs", logs) == first[0]
        removed = [await call("eth_uninstallFilter", logs), await call("eth_uninstallFilter", logs)]
        service.close()
        return removed

    assert asyncio.run(run()) == [True, False]


@pytest.mark.parametrize(
    ("topics", "found"),
    [
        ([], 1),
        (["0x" + "01" * 32], 1),
        ([None, "0x" + "02" * 32], 1),
        ([["0x" + "07" * 32, "0x" + "01" * 32]], 1),
        (["0x" + "02" * 32], 0),
        ([None, None, None], 0),
    ],
)
def test_log_topics(topics: list[Any], found: int) -> None:
    answers = exchange(
        request("eth_sendRawTransaction", raw_transaction(0)),
        request("eth_getLogs", {"fromBlock": "earliest", "topics": topics}),
    )
    assert len(answers[1]["result"]) == found


def in_loop(work: Callable[[RpcService], Any]) -> Any:
    async def run() -> Any:
        service = rpc_service(MemoryBackend())
        try:
            return await work(service)
        finally:
            service.close()

    return asyncio.run(run())


def test_a_slow_read_does_not_hold_up_the_others() -> None:
    import threading

    async def work(service: RpcService) -> list[int]:
        release = threading.Event()
        slow = asyncio.ensure_future(service.readers.run(lambda: release.wait(60)))
        quick = [asyncio.ensure_future(service.readers.run(partial(abs, number))) for number in range(3)]
        numbers = await asyncio.gather(*quick)
        assert not slow.done()
        release.set()
        await slow
        return list(numbers)

    assert in_loop(work) == [0, 1, 2]


class RewoundBehindTheHead(MemoryBackend):
    """Its chain is brought back to block 0 just after somebody asked for the head the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.done = Rewinds()

    def rewinds(self) -> Rewinds:
        return self.done

    def head(self) -> Header:
        head = super().head()
        if head.number == 2 and not self.done.count:
            del self.blocks[1:], self.all_receipts[1:]
            self.done.add(0)
        return head


def test_a_rewind_while_a_filter_is_installed_is_not_missed() -> None:
    async def run() -> None:
        backend = RewoundBehindTheHead()
        service = rpc_service(backend)
        await backend._append([])
        await backend._append([])
        key = await service.call("eth_newBlockFilter", [])
        await backend._append([])
        assert await service.call("eth_getFilterChanges", [key]) == ["0x" + backend.blocks[1].header.hash.hex()]
        service.close()

    asyncio.run(run())


@pytest.mark.parametrize("short_road", [True, False])
def test_a_large_batch_is_priced_on_a_thread(short_road: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prices of a thousand requests held the event loop for milliseconds."""
    threads = []

    def noted(*arguments: Any) -> ReadPrice:
        threads.append(threading.get_ident())
        return price_of(*arguments)

    def noted_of_typed(self: RpcService, typed: Any) -> ReadPrice:
        threads.append(threading.get_ident())
        return of_typed(self, typed)

    of_typed = RpcService._price_of_typed
    monkeypatch.setattr(service_module, "price_of", noted)
    monkeypatch.setattr(RpcService, "_price_of_typed", noted_of_typed)
    batch = [request("eth_getBalance", ALICE, "latest") | {"id": number} for number in range(300)]
    (answers,) = exchange(batch, limits=RpcLimits(short_road=short_road))
    assert [answer["id"] for answer in answers] == list(range(300))
    assert len(threads) >= 300
    assert threading.get_ident() not in threads[:300]


def test_large_bodies_of_one_connection_are_decoded_when_it_is_their_turn() -> None:
    """All that a connection sent ahead was decoded at once: a hundred of them made 400 MB of it."""

    async def run() -> None:
        backend = Held()
        service = rpc_service(backend)
        decoded: list[int] = []
        decode = service.dispatcher.decode

        def counted(body: bytes, caller: Caller) -> Body:
            decoded.append(len(body))
            return decode(body, caller)

        service.dispatcher.decode = counted  # type: ignore[method-assign]
        body = json.dumps(request("eth_call", {"to": "0x" + "11" * 20, "data": "0x" + "00" * 25_000})).encode()
        client, other = ConnectedClient(), ConnectedClient()
        try:
            waiting = [asyncio.ensure_future(service.answer(body, client)) for _ in range(20)]
            while backend.running < LARGE_READS:
                await asyncio.sleep(0.002)
            assert len(decoded) == LARGE_READS
            last = asyncio.ensure_future(service.answer(body, other))
            while backend.running < LARGE_READS + 1:
                await asyncio.sleep(0.002)
            backend.free.set()
            answers = await asyncio.gather(last, *waiting)
            assert {json.loads(answer or b"")["result"] for answer in answers} == {"0x2a"}
            assert len(decoded) == 21
        finally:
            backend.free.set()
            service.close()

    asyncio.run(run())
