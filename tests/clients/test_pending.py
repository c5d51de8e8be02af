"""The tag ``pending`` and subscriptions to the pool, on a real daemon: by method, transport and client."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import websockets

import zvmd
from tests.contracts import dev_account
from tests.daemon import Daemon
from tests.rpc import Rpc, RpcFailed

OWNER = dev_account(0).address
FRIEND = "0x" + "12" * 20
COUNTER_CODE = "0x61001a80600c6000396000f36000546001018060005560005260003560206000a160206000f3"
COUNTER = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
"""Where the owner's first transaction creates it."""
WORD_ONE = "0x" + "00" * 31 + "01"
READS_BLOCK = "0x" + "4342" + "60005260205260406000f3"
"""Runtime code that returns timestamp and number."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("pending") / "data")
    daemon.start()
    try:
        yield daemon
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.close()


@pytest.fixture
def rpc(daemon: Daemon) -> Iterator[Rpc]:
    """A chain of its own at each test, sealed on demand."""
    rpc = daemon.rpc()
    rpc.call("anvil_reset")
    rpc.call("evm_setAutomine", False)
    yield rpc
    daemon.rpc().call("evm_setAutomine", True)  # on another connection: a test may restart the daemon


def send(rpc: Rpc, **fields: str) -> str:
    sent: str = rpc.call("eth_sendTransaction", {"from": OWNER, **fields})
    return sent


def fill(rpc: Rpc) -> list[str]:
    """A contract is created, called, and five wei are sent; nothing is sealed."""
    return [send(rpc, data=COUNTER_CODE), send(rpc, to=COUNTER, data=WORD_ONE), send(rpc, to=FRIEND, value="0x5")]


def test_every_method_that_takes_the_tag(rpc: Rpc) -> None:
    hashes = fill(rpc)
    head = rpc.call("eth_getBlockByNumber", "latest", False)
    block = rpc.call("eth_getBlockByNumber", "pending", False)
    assert (block["number"], block["parentHash"]) == ("0x1", head["hash"])
    assert (block["hash"], block["nonce"], block["miner"]) == (None, None, None)
    assert block["transactions"] == hashes
    whole = rpc.call("eth_getBlockByNumber", "pending", True)["transactions"]
    assert [tx["hash"] for tx in whole] == hashes
    assert {tx["blockHash"] for tx in whole} | {tx["blockNumber"] for tx in whole} == {None}
    assert rpc.call("eth_getTransactionByBlockNumberAndIndex", "pending", "0x1") == whole[1]
    assert rpc.call("eth_getTransactionByHash", hashes[1]) == whole[1]
    assert rpc.call("eth_getTransactionByBlockNumberAndIndex", "pending", "0x3") is None
    header = rpc.call("eth_getHeaderByNumber", "pending")
    assert header == {name: block[name] for name in header}
    assert rpc.call("eth_getBlockTransactionCountByNumber", "pending") == "0x3"
    assert rpc.call("eth_getUncleCountByBlockNumber", "pending") == "0x0"
    assert rpc.call("eth_getUncleByBlockNumberAndIndex", "pending", "0x0") is None
    receipts = rpc.call("eth_getBlockReceipts", "pending")
    assert [(one["transactionHash"], one["status"], one["blockHash"]) for one in receipts] == [
        (digest, "0x1", None) for digest in hashes
    ]
    for tag in ("pending", {"blockNumber": "pending"}):
        assert rpc.call("eth_getBalance", FRIEND, tag) == "0x5"
        assert rpc.call("eth_getCode", COUNTER, tag) != "0x"
        assert rpc.call("eth_getStorageAt", COUNTER, "0x0", tag) == WORD_ONE
        assert rpc.call("eth_getStorageValues", {COUNTER: ["0x0"]}, tag) == {COUNTER: [WORD_ONE]}
        assert rpc.call("eth_getTransactionCount", OWNER, tag) == "0x3"
        assert rpc.call("eth_call", {"to": COUNTER}, tag)[-1] == "2"
        assert int(rpc.call("eth_estimateGas", {"from": OWNER, "to": COUNTER, "data": WORD_ONE}, tag), 16) > 25_000
        assert len(rpc.call("eth_createAccessList", {"from": OWNER, "to": COUNTER}, tag)["accessList"]) == 1
    assert rpc.call("eth_getBalance", FRIEND, "latest") == "0x0"
    assert rpc.call("eth_getProof", COUNTER, ["0x0"], "pending")["storageProof"][0]["value"] == "0x1"
    fees = rpc.call("eth_feeHistory", "0x2", "pending", [50])
    assert (fees["oldestBlock"], fees["baseFeePerGas"][1]) == ("0x0", block["baseFeePerGas"])
    assert fees["gasUsedRatio"][1] > 0
    assert len(rpc.call("debug_traceBlockByNumber", "pending", {"tracer": "callTracer"})) == 3
    assert len(rpc.call("trace_block", "pending")) == 3
    trace = rpc.call("debug_traceCall", {"to": COUNTER}, "pending", {"tracer": "callTracer"})
    assert trace["output"][-1] == "2"
    trace = rpc.call("debug_traceCall", {"to": COUNTER}, "pending", {"tracer": "callTracer", "txIndex": "0x1"})
    assert trace["output"][-1] == "1"
    assert rpc.call("zvmd_read", 0, "eth_getBalance", [FRIEND, "pending"])["result"] == "0x5"
    status = rpc.call("txpool_status")
    assert status == {"pending": "0x3", "queued": "0x0"}
    rpc.call("evm_setNextBlockTimestamp", int(block["timestamp"], 16))
    sealed_header, sealed_block, sealed_receipts = (
        rpc.call(f"debug_getRaw{what}", "pending") for what in ("Header", "Block", "Receipts")
    )
    rpc.call("evm_mine")
    sealed = rpc.call("eth_getBlockByNumber", "latest", False)
    assert {name for name in block if block[name] != sealed[name]} == {"hash", "nonce", "miner"}
    assert rpc.call("debug_getRawHeader", "latest") == sealed_header
    assert rpc.call("debug_getRawBlock", "latest") == sealed_block
    assert rpc.call("debug_getRawReceipts", "latest") == sealed_receipts
    empty = rpc.call("eth_getBlockByNumber", "pending", False)
    assert (empty["number"], empty["transactions"]) == ("0x2", [])


@pytest.mark.parametrize(
    ("cheat", "argument", "field", "value"),
    [
        ("evm_setNextBlockTimestamp", 4_000_000_000, "timestamp", "0xee6b2800"),
        ("anvil_setNextBlockBaseFeePerGas", "0x11ed8ec200", "baseFeePerGas", "0x11ed8ec200"),
        ("anvil_setPrevRandao", "0x" + "77" * 32, "mixHash", "0x" + "77" * 32),
        ("evm_setBlockGasLimit", "0x1312d00", "gasLimit", "0x1312d00"),
    ],
)
def test_it_has_what_the_next_block_was_given(rpc: Rpc, cheat: str, argument: Any, field: str, value: str) -> None:
    rpc.call(cheat, argument)
    assert rpc.call("eth_getBlockByNumber", "pending", False)[field] == value
    rpc.call("evm_mine")
    assert rpc.call("eth_getBlockByNumber", "latest", False)[field] == value


def test_calls_see_the_next_time_and_number(rpc: Rpc) -> None:
    rpc.call("anvil_setCode", FRIEND, READS_BLOCK)
    before = int(rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    rpc.call("anvil_setBlockTimestampInterval", 1_000)

    def seen(tag: str) -> tuple[int, int]:
        output = bytes.fromhex(rpc.call("eth_call", {"to": FRIEND}, tag)[2:])
        return int.from_bytes(output[:32], "big"), int.from_bytes(output[32:], "big")

    assert seen("latest") == (before, 0)
    assert seen("pending") == (before + 1_000, 1)
    rpc.call("anvil_removeBlockTimestampInterval")


def test_a_transaction_without_gas_is_estimated_where_it_will_run(rpc: Rpc) -> None:
    """After a contract that is still in the pool, and at the next block's time."""
    created, called, _ = fill(rpc)
    rpc.call("evm_mine")
    assert [rpc.call("eth_getTransactionReceipt", one)["status"] for one in (created, called)] == ["0x1", "0x1"]
    unlock = int(rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16) + 5_000
    # reverts before the time: PUSH8 unlock, TIMESTAMP, LT, ISZERO, PUSH1 14, JUMPI, revert; JUMPDEST
    guarded = "0x67" + unlock.to_bytes(8, "big").hex() + "4210" + "15" + "6012" + "57" + "5f5ffd" + "5b00"
    rpc.call("anvil_setCode", FRIEND, guarded)
    with pytest.raises(RpcFailed):
        send(rpc, to=FRIEND)
    rpc.call("evm_increaseTime", 6_000)
    sent = send(rpc, to=FRIEND)
    rpc.call("evm_mine")
    assert rpc.call("eth_getTransactionReceipt", sent)["status"] == "0x1"


def test_logs_begin_with_a_sealed_block(rpc: Rpc) -> None:
    fill(rpc)
    for method in ("eth_getLogs", "eth_newFilter"):
        with pytest.raises(RpcFailed) as refusal:
            rpc.call(method, {"fromBlock": "pending", "toBlock": "pending"})
        assert refusal.value.code == -32602
    assert rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "pending"}) == []
    rpc.call("evm_mine")
    assert len(rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "pending"})) == 1


async def _ask(socket: Any, method: str, *params: Any) -> Any:
    await socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    while "id" not in (answer := json.loads(await socket.recv())):
        pass
    return answer.get("result", answer.get("error"))


@pytest.mark.parametrize("automine", [False, True])
def test_web_sockets_hear_of_the_pool(daemon: Daemon, rpc: Rpc, automine: bool) -> None:
    """Hashes, or with ``true`` whole transactions, when they come in: with instant sealing before their block."""
    rpc.call("evm_setAutomine", automine)

    async def work() -> None:
        async with websockets.connect(daemon.http_url.replace("http", "ws") + "/ws") as socket:
            plain = await _ask(socket, "eth_subscribe", "newPendingTransactions")
            also = await _ask(socket, "eth_subscribe", "newPendingTransactions", False)
            whole = await _ask(socket, "eth_subscribe", "newPendingTransactions", True)
            heads = await _ask(socket, "eth_subscribe", "newHeads")
            sent = [await asyncio.to_thread(send, rpc, to=FRIEND, value=hex(wei)) for wei in (1, 2)]
            if not automine:
                await asyncio.to_thread(rpc.call, "evm_mine")
            told: dict[str, list[Any]] = {plain: [], also: [], whole: [], heads: []}
            order = []
            while len(order) < (8 if automine else 7):
                params = json.loads(await asyncio.wait_for(socket.recv(), 30))["params"]
                told[params["subscription"]].append(params["result"])
                order.append(params["subscription"])
            assert told[plain] == told[also] == sent
            assert [tx["hash"] for tx in told[whole]] == sent
            assert {(tx["blockHash"], tx["blockNumber"], tx["to"]) for tx in told[whole]} == {(None, None, FRIEND)}
            assert order.index(heads) > max(order.index(one) for one in (plain, also, whole))

    asyncio.run(work())


def test_subscriptions_take_what_geth_takes(daemon: Daemon, rpc: Rpc) -> None:
    fill(rpc)
    rpc.call("evm_mine")

    async def work() -> None:
        async with websockets.connect(daemon.http_url.replace("http", "ws") + "/ws") as socket:
            for refused in (
                ("newPendingTransactions", "yes"),
                ("logs", {"fromBlock": "pending"}),
                ("logs", {"fromBlock": "0x5", "toBlock": "0x4"}),
                ("logs", {"fromBlock": "soon"}),
            ):
                assert (await _ask(socket, "eth_subscribe", *refused))["code"] == -32602, refused
            every = await _ask(socket, "eth_subscribe", "logs", {"fromBlock": "0x0", "toBlock": "latest", "extra": 1})
            one = {"fromBlock": "0x3", "toBlock": "0x3", "address": COUNTER}
            third = await _ask(socket, "eth_subscribe", "logs", one)
            for _ in range(3):
                await asyncio.to_thread(send, rpc, to=COUNTER, data=WORD_ONE)
                await asyncio.to_thread(rpc.call, "evm_mine")
            told: dict[str, list[str]] = {every: [], third: []}
            for _ in range(4):
                params = json.loads(await asyncio.wait_for(socket.recv(), 30))["params"]
                told[params["subscription"]].append(params["result"]["blockNumber"])
            assert told == {every: ["0x2", "0x3", "0x4"], third: ["0x3"]}

    asyncio.run(work())


def test_the_sdk_and_quic(daemon: Daemon, rpc: Rpc) -> None:
    async def work() -> None:
        async with zvmd.connect(data_dir=str(daemon.data_dir)) as client:
            arrivals = await client.pending_transactions()
            digest = await asyncio.to_thread(send, rpc, to=FRIEND, value="0x5")
            arrived = await asyncio.wait_for(anext(arrivals), 30)
            assert ("0x" + arrived.hash.hex(), arrived.value) == (digest, b"\x05")
            assert "0x" + arrived.sender.hex() == OWNER.lower()
            assert await client.rpc("eth_getBalance", FRIEND, "pending") == "0x5"
            assert await client.rpc("eth_getRawTransactionByHash", digest) == "0x" + arrived.raw.hex()
            await arrivals.aclose()  # type: ignore[attr-defined]

    asyncio.run(work())


def test_a_session_starts_after_what_waits(daemon: Daemon, rpc: Rpc) -> None:
    """It keeps what it started from: sealing, the pool and a restart do not change it."""
    fill(rpc)
    time = int(rpc.call("eth_getBlockByNumber", "pending", False)["timestamp"], 16)
    called = rpc.call("zvmd_session_create", {"to": COUNTER, "caller": OWNER, "block": "pending"})["id"]
    asked = rpc.call("zvmd_session_create", {"code": READS_BLOCK, "block": {"blockNumber": "pending"}})["id"]
    rpc.call("anvil_dropAllTransactions")
    rpc.call("evm_mine")
    daemon.kill()
    daemon.start()
    rpc = daemon.rpc()
    assert int(rpc.call("zvmd_session_run", called)["halt"]["output"], 16) == 2
    output = bytes.fromhex(rpc.call("zvmd_session_run", asked)["halt"]["output"][2:])
    assert time <= int.from_bytes(output[:32], "big") <= time + 60
    assert int.from_bytes(output[32:], "big") == 1


def test_the_polling_filter_tells_each_once(rpc: Rpc) -> None:
    polled = rpc.call("eth_newPendingTransactionFilter")
    hashes = fill(rpc)
    assert rpc.call("eth_getFilterChanges", polled) == hashes
    rpc.call("evm_mine")
    assert rpc.call("eth_getFilterChanges", polled) == []


def test_cast(cast: str, daemon: Daemon, rpc: Rpc) -> None:
    fill(rpc)
    rpc.call("anvil_setNextBlockBaseFeePerGas", "0x77359400")

    def run(*arguments: str) -> str:
        command = [cast, *arguments, "--rpc-url", daemon.http_url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.strip()

    assert run("balance", FRIEND, "--block", "pending").split()[0] == "5"
    assert run("nonce", OWNER, "--block", "pending") == "3"
    assert run("call", COUNTER, "--block", "pending")[-1] == "2"

