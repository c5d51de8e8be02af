"""Development calls on a real daemon: anvil's answers, nothing lost by ``kill -9``, both transports, streams."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import websockets

from tests.conftest import Node
from tests.contracts import dev_account
from tests.daemon import Daemon, free_port
from tests.programs import find_program
from tests.rpc import Rpc, RpcFailed
from zvmd import connect

A, B, C = ("0x" + byte * 20 for byte in ("a1", "b2", "c3"))
OWNER = dev_account(0).address
WORD = "0x" + "00" * 31 + "07"
COUNTER = "0x60005460010160005500"
"""Adds one to slot 0."""

Step = tuple[str, tuple[Any, ...]]


def step(method: str, *params: Any) -> Step:
    return method, params


def transaction(sender: str, to: str, wei: int) -> Step:
    fields = {"from": sender, "to": to, "value": hex(wei), "gas": "0x15f90", "gasPrice": hex(10**10)}
    return step("eth_sendTransaction", fields)


def looks(*addresses: str) -> list[Step]:
    """Everything a user can see of these accounts, now and a block ago."""
    steps = [step("eth_blockNumber")]
    for address in addresses:
        steps += [step(f"eth_{what}", address, "latest") for what in ("getBalance", "getTransactionCount", "getCode")]
        steps += [step("eth_getStorageAt", address, slot, "latest") for slot in ("0x0", "0x1")]
    return steps


SCRIPT: list[Step] = [
    step("evm_increaseTime", 100), step("evm_increaseTime", "0x64"),
    step("evm_setNextBlockTimestamp", 2_000_000_000), step("evm_mine"),
    step("evm_setTime", 2_000_001_000), step("evm_mine"),
    step("anvil_setBlockTimestampInterval", 7), step("evm_mine"), step("evm_mine"),
    step("anvil_removeBlockTimestampInterval"), step("anvil_removeBlockTimestampInterval"),
    step("anvil_setBalance", A, hex(10**18)), *looks(A), step("eth_getBalance", A, "0x3"), step("evm_mine"),
    step("eth_getBalance", A, "0x3"), step("eth_getBalance", A, "0x4"),
    step("anvil_addBalance", A, "0x5"), step("tenderly_setBalance", B, "0x9"), step("tenderly_addBalance", B, "0x1"),
    step("anvil_setNonce", A, "0x5"), step("anvil_setNonce", A, "0x3"),
    step("anvil_setStorageAt", C, "0x0", WORD), step("anvil_setStorageAt", C, "0x1", WORD), *looks(A, B, C),
    transaction(OWNER, C, 0), *looks(C), transaction(OWNER, C, 1), *looks(C),
    step("anvil_setCode", C, COUNTER), transaction(OWNER, C, 0), *looks(C),
    transaction(A, B, 1),
    step("anvil_impersonateAccount", A), transaction(A, B, 1), *looks(A, B), step("eth_accounts"),
    step("anvil_stopImpersonatingAccount", A), transaction(A, B, 1),
    step("anvil_setBalance", C, hex(10**18)), step("anvil_impersonateAccount", C), transaction(C, B, 2), *looks(B, C),
    step("anvil_autoImpersonateAccount", True), transaction(A, B, 3), step("anvil_autoImpersonateAccount", False),
    step("evm_snapshot"), step("anvil_setBalance", B, "0x1234"), step("evm_mine"), step("evm_snapshot"),
    transaction(OWNER, B, 1), step("anvil_setStorageAt", C, "0x1", WORD), *looks(A, B, C),
    step("evm_revert", "$snapshot"), *looks(A, B, C), step("evm_revert", "$snapshot"), step("evm_revert", "0x6300"),
    transaction(OWNER, B, 5), *looks(B),
    step("anvil_setCoinbase", A), step("evm_mine"), step("eth_coinbase"),
    step("anvil_setNextBlockBaseFeePerGas", "0x77"), step("eth_gasPrice"), step("evm_mine"),
    step("eth_getBlockByNumber", "latest", False), step("evm_mine"), step("eth_getBlockByNumber", "latest", False),
    step("evm_setBlockGasLimit", hex(20_000_000)), step("evm_mine"), step("eth_getBlockByNumber", "latest", False),
    step("evm_setAutomine", False), transaction(OWNER, B, 1), step("txpool_status"),
    step("anvil_removePoolTransactions", OWNER), step("txpool_status"), step("anvil_dropAllTransactions"),
    transaction(OWNER, B, 1), step("anvil_dropTransaction", "$hash"), step("anvil_dropTransaction", "$hash"),
    step("evm_setAutomine", True),
    step("evm_mine", {"timestamp": 3_000_000_000, "blocks": 1}), step("evm_mine", 3_000_000_100), step("evm_mine", 5),
    step("eth_getBlockByNumber", "latest", False), step("anvil_rollback", 1),
    step("eth_getBlockByNumber", "latest", False), step("anvil_rollback", 1000),
    step("anvil_reset"), *looks(A, B, C),
]  # fmt: skip

FIELDS = ("number", "miner", "baseFeePerGas", "gasLimit", "gasUsed")
"""Of a block; both tools give them the same value whatever the wall clock says."""
OWN_WAY = {"evm_setAutomine"}
"""Answered with true, as Hardhat does."""


def play(rpc: Rpc) -> list[tuple[Step, Any]]:
    """The script's answers, without what cannot be the same on two nodes."""
    answers: list[tuple[Step, Any]] = []
    last_hash, snapshot, automine = "", "", True
    for method, params in SCRIPT:
        params = tuple({"$hash": last_hash, "$snapshot": snapshot}.get(str(item), item) for item in params)
        try:
            answer = rpc.call(method, *params)
        except RpcFailed:
            answer = "refused"
        if method == "eth_sendTransaction" and answer != "refused":
            last_hash, answer = answer, "sent"
            while automine and rpc.call("eth_getTransactionReceipt", last_hash) is None:
                time.sleep(0.01)  # anvil answers before it mines
        elif method == "evm_setAutomine":
            automine = params[0]
        elif method == "evm_snapshot":
            snapshot, answer = snapshot or answer, "taken"
        elif method == "eth_getBlockByNumber":
            answer = {field: answer[field] for field in FIELDS}
        elif answer == last_hash:
            answer = "its hash"
        elif method == "eth_accounts":
            answer = sorted(answer)
        shown = None if method in OWN_WAY else answer
        names = {last_hash: "$hash", snapshot: "$snapshot"}
        answers.append(((method, tuple(names.get(str(item), item) for item in params)), shown))
    return answers


@pytest.fixture
def anvil() -> Iterator[str]:
    """A new anvil's URL."""
    program = find_program("anvil")
    if program is None:
        pytest.skip("no anvil here: `make test` installs it where npm is there")
    port = free_port(socket.SOCK_STREAM)
    process = subprocess.Popen([program, "--silent", "--port", str(port)])
    try:
        for _ in range(1_200):
            with suppress(OSError):
                Rpc(f"http://127.0.0.1:{port}").call("eth_chainId")
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_the_same_answers_as_anvil(anvil: str, daemon: Daemon) -> None:
    expected, got = play(Rpc(anvil)), play(daemon.rpc())
    assert [one for one in zip(got, expected, strict=True) if one[0] != one[1]] == []


def seen(rpc: Rpc) -> dict[str, Any]:
    """What a restart must not change."""
    picture: dict[str, Any] = {repr(one): rpc.call(one[0], *one[1]) for one in looks(A, B, C, OWNER)}
    picture["pool"] = rpc.call("txpool_content")
    head = rpc.call("eth_getBlockByNumber", "latest", True)
    for number in range(int(head["number"], 16) + 1):
        picture[f"block {number}"] = rpc.call("eth_getBlockByNumber", hex(number), True)
        picture[f"balance {number}"] = rpc.call("eth_getBalance", B, hex(number))
    picture["accounts"], picture["fee"] = rpc.call("eth_accounts"), rpc.call("eth_gasPrice")
    return picture


def kill_after(daemon: Daemon, every: int) -> int:
    """Play the script, kill after so many development calls each; how many kills."""
    calls = kills = 0
    rpc, snapshot = daemon.rpc(), ""
    for method, params in SCRIPT:
        if "$hash" in params or method.startswith("eth_get"):
            continue
        with suppress(RpcFailed):
            answer = rpc.call(method, *(snapshot if item == "$snapshot" else item for item in params))
            snapshot = snapshot or (answer if method == "evm_snapshot" else "")
        calls += 1
        if calls % every == 0:
            before = seen(rpc)
            daemon.kill()
            daemon.start()
            rpc = daemon.rpc()
            assert seen(rpc) == before, (method, params)
            kills += 1
    return kills


@pytest.mark.timeout(300)
def test_a_kill_after_a_call_changes_nothing(daemon: Daemon) -> None:
    assert kill_after(daemon, 35) >= 1


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_kill_after_every_call_changes_nothing(daemon: Daemon) -> None:
    assert kill_after(daemon, 1) > 60


def test_a_key_makes_a_call_once(daemon: Daemon) -> None:
    rpc = daemon.rpc()
    first = rpc.call("zvmd_cheat", "anvil_addBalance", [A, "0x5"], "top up")
    snapshot = rpc.call("zvmd_cheat", "evm_snapshot", [], "before")
    daemon.kill()
    daemon.start()
    rpc = daemon.rpc()
    assert rpc.call("zvmd_cheat", "anvil_addBalance", [A, "0x5"], "top up")["result"] == first["result"]
    assert rpc.call("zvmd_cheat", "evm_snapshot", [], "before")["result"] == snapshot["result"]
    assert rpc.call("eth_getBalance", A, "latest") == "0x5"
    with pytest.raises(RpcFailed, match="not a development call"):
        rpc.call("zvmd_cheat", "eth_chainId", [])


def test_over_quic_and_streams_go_on_after_a_revert(daemon: Daemon) -> None:
    async def work() -> None:
        rpc = daemon.rpc()
        async with (
            connect(data_dir=daemon.data_dir) as client,
            websockets.connect(daemon.http_url.replace("http", "ws") + "/ws") as socket,
        ):
            request = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
            await socket.send(json.dumps(request))
            await socket.recv()
            polled = rpc.call("eth_newBlockFilter")
            snapshot = await client.rpc("evm_snapshot")
            await client.rpc("anvil_mine", "0x2")
            assert await client.rpc("evm_revert", snapshot) is True
            assert rpc.call("eth_getFilterChanges", polled) == []
            await client.rpc("anvil_setBalance", A, "0x7")
            assert await client.rpc("eth_getBalance", A) == "0x7"
            await client.rpc("anvil_mine", "0x1")
            wanted = (await client.rpc("eth_getBlockByNumber", "0x1", False))["hash"]
            heads = []
            while wanted not in heads:
                heads.append(json.loads(await asyncio.wait_for(socket.recv(), 20))["params"]["result"]["hash"])
            assert rpc.call("eth_getFilterChanges", polled) == [wanted]

    asyncio.run(work())


def test_the_sender_of_an_impersonated_transaction_is_shown(node: Node) -> None:
    rpc = node.rpc()
    rpc.call("anvil_setBalance", A, hex(10**18))
    rpc.call("anvil_impersonateAccount", A)
    digest = rpc.call("eth_sendTransaction", {"from": A, "to": B, "value": "0x1"})
    rpc.call("anvil_stopImpersonatingAccount", A)
    assert rpc.call("eth_getTransactionByHash", digest)["from"] == A
    assert rpc.call("eth_getTransactionReceipt", digest)["from"] == A
    raw = rpc.call("eth_getRawTransactionByHash", digest)
    with pytest.raises(RpcFailed):  # nobody may send one from outside
        rpc.call("eth_sendRawTransaction", raw[:-2] + "fe")


def test_a_session_at_a_reverted_block_goes_on(daemon: Daemon) -> None:
    """Live over the state it pinned; after a restart over what its own record holds."""
    rpc = daemon.rpc()
    rpc.call("anvil_setStorageAt", C, "0x0", WORD)
    snapshot = rpc.call("evm_snapshot")
    rpc.call("anvil_setCode", C, COUNTER)
    rpc.call("evm_mine")
    session = rpc.call("zvmd_session_create", {"to": C, "gas": 100_000, "block": "latest"})["id"]
    assert rpc.call("evm_revert", snapshot) is True
    rpc.call("anvil_setStorageAt", C, "0x0", "0x5")
    rpc.call("evm_mine")
    rpc.call("zvmd_session_step", session, 2)
    state = rpc.call("zvmd_session_state", session)
    assert int(state["stack"][-1], 16) == 7
    daemon.kill()
    daemon.start()
    rpc = daemon.rpc()
    again = rpc.call("zvmd_session_state", session)
    assert {key: again[key] for key in ("stack", "pc", "step")} == {key: state[key] for key in ("stack", "pc", "step")}
    rpc.call("zvmd_session_run", session)
    assert rpc.call("zvmd_session_state", session)["halt"] is not None
