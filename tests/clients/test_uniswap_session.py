"""A swap on Uniswap V2 debugged after the fact, source-free; every step as anvil traces the same transaction."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from eth_utils.crypto import keccak
from web3 import Web3
from web3.middleware import SignAndSendRawMiddlewareBuilder

from tests.clients.test_uniswap_v2 import LIQUIDITY_A, LIQUIDITY_B, SUPPLY, done
from tests.clients.test_web3py import deploy
from tests.contracts import dev_account
from tests.daemon import CHAIN_ID, Daemon, free_port
from tests.programs import find_program
from tests.rpc import Rpc

S = "zvmd_session_"
TRACED = {"disableStorage": True, "enableMemory": True, "enableReturnData": True}
START_SECONDS = 60.0


class Swap(NamedTuple):
    """A mined swap on a chain with one transaction a block."""

    daemon: Daemon
    rpc: Rpc
    receipt: dict[str, Any]
    router: str
    pair: str


@pytest.fixture(scope="module")
def swap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swap]:
    daemon = Daemon(tmp_path_factory.mktemp("uniswap") / "data")
    daemon.start()
    try:
        web3: Any = Web3(Web3.HTTPProvider(daemon.http_url))
        trader = dev_account(1)
        web3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(trader), layer=0)
        web3.eth.default_account = me = trader.address
        weth = deploy(web3, "WETH9")
        factory = deploy(web3, "UniswapV2Factory", me)
        router = deploy(web3, "UniswapV2Router02", factory.address, weth.address)
        tokens = [deploy(web3, "ERC20PresetFixedSupply", name, name, SUPPLY, me) for name in ("A", "B")]
        for token in tokens:
            done(web3, token.functions.approve(router.address, 2**256 - 1))
        path, deadline = [token.address for token in tokens], 2**40
        add = router.functions.addLiquidity(*path, LIQUIDITY_A, LIQUIDITY_B, 0, 0, me, deadline)
        done(web3, add)
        receipt = done(web3, router.functions.swapExactTokensForTokens(10**19, 1, path, me, deadline))
        pair = factory.functions.getPair(*path).call()
        rpc = daemon.rpc()
        found = rpc.call("eth_getTransactionReceipt", "0x" + bytes(receipt["transactionHash"]).hex())
        yield Swap(daemon, rpc, found, router.address.lower(), pair.lower())
    finally:
        daemon.close()


@pytest.fixture(scope="module")
def session(swap: Swap) -> int:
    return int(swap.rpc.call(S + "create", {"transaction": swap.receipt["transactionHash"]})["id"])


def lines_of(swap: Swap, session: int) -> list[dict[str, Any]]:
    """The session's EIP-3155 lines, page by page, without the summary."""
    lines: list[str] = []
    at = 0
    while True:
        page = swap.rpc.call(S + "trace", session, at, 1_000, True)
        lines += page["lines"]
        at = page["stop"]
        if page["hasEnded"]:
            return [json.loads(line) for line in lines[:-1]]


def test_it_pays_the_receipts_gas_and_leaves_its_logs(swap: Swap, session: int) -> None:
    end = swap.rpc.call(S + "run", session)
    assert end["halt"]["success"]
    assert end["halt"]["gasUsed"] == int(swap.receipt["gasUsed"], 16)
    state = swap.rpc.call(S + "state", session)
    wanted = [(log["address"], log["topics"], log["data"]) for log in swap.receipt["logs"]]
    assert [(log["address"], log["topics"], log["data"]) for log in state["logs"]] == wanted
    assert len(wanted) == 4


def test_it_is_stepped_through_its_calls_without_sources(swap: Swap, session: int) -> None:
    """Into the pair's swap, over the token's transfer and back over it, out to the router and back out of it."""

    def ask(name: str, *params: Any) -> Any:
        return swap.rpc.call(S + name, session, *params)

    selector = keccak(text="swap(uint256,uint256,address,bytes)")[:4].hex()
    ask("reset")
    point = ask("breakpoint_add", {"kind": "call", "target": swap.pair})["id"]
    while True:
        assert ask("run")["reason"] == "breakpoint"
        at = ask("state")
        offset = int(at["stack"][-4], 16)
        if at["opcode"] == "CALL" and at["memory"][2 + 2 * offset :].startswith(selector):
            break
    ask("breakpoint_remove", point)
    call = at["step"]
    inside = ask("step")
    assert (inside["depth"], inside["pc"]) == (at["depth"] + 1, 0)
    assert ask("state")["callFrames"][-1]["address"] == swap.pair
    point = ask("breakpoint_add", {"kind": "opcode", "opcode": "CALL"})["id"]
    transfer = ask("run")
    assert transfer["depth"] == inside["depth"]
    ask("breakpoint_remove", point)
    after = ask("step_over")
    assert (after["depth"], after["pc"]) == (transfer["depth"], transfer["pc"] + 1)
    assert ask("step_over_back")["step"] == transfer["step"]
    back = ask("step_out")
    assert (back["depth"], back["pc"]) == (at["depth"], at["pc"] + 1)
    ask("seek", after["step"])
    assert ask("step_out_back")["step"] == call
    nodes = ask("call_tree")["nodes"]
    assert nodes[0]["address"] == swap.router
    assert {"call", "staticcall"} <= {node["kind"] for node in nodes}
    assert max(node["depth"] for node in nodes) == 3
    assert nodes[0]["gasUsed"] == sum(node["gasOwn"] for node in nodes)


def test_every_step_is_that_of_anvil(swap: Swap, session: int) -> None:
    program = find_program("anvil")
    if program is None:
        pytest.skip("no anvil here: `make tools` installs it where npm is there")
    port = free_port(socket.SOCK_STREAM)
    began = int(swap.rpc.call("eth_getBlockByNumber", "0x1", False)["timestamp"], 16) - 1
    options = ["--port", str(port), "--chain-id", str(CHAIN_ID), "--base-fee", "0", "--timestamp", str(began)]
    options += ["--steps-tracing", "--no-mining"]
    anvil = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        other = reachable(f"http://127.0.0.1:{port}")
        replay(swap.rpc, other, int(swap.receipt["blockNumber"], 16))
        digest = swap.receipt["transactionHash"]
        mirrored = other.call("eth_getTransactionReceipt", digest)
        for field in ("gasUsed", "status", "logsBloom"):
            assert mirrored[field] == swap.receipt[field]
        trace = other.call("debug_traceTransaction", digest, TRACED)
    finally:
        anvil.terminate()
        anvil.wait(30)
    ours, theirs = lines_of(swap, session), trace["structLogs"]
    assert len(ours) == len(theirs) > 4_000
    assert int(swap.receipt["gasUsed"], 16) == trace["gas"]
    for number, (mine, other_line) in enumerate(zip(ours, theirs, strict=True)):
        assert step_of(mine, mine["opName"]) == step_of(other_line, other_line["op"]), number


def step_of(line: dict[str, Any], name: str) -> tuple[Any, ...]:
    """What both traces tell of a step. Refunds are not among it: anvil counts them by frame."""
    gas, cost = (line[field] if isinstance(line[field], int) else int(line[field], 16) for field in ("gas", "gasCost"))
    memory = line.get("memory", [])
    content = memory[2:] if isinstance(memory, str) else "".join(word.removeprefix("0x") for word in memory)
    stack = [int(word, 16) for word in line["stack"]]
    return line["pc"], name, gas, cost, line["depth"], stack, content, line["returnData"]


def reachable(url: str) -> Rpc:
    """A connection to a node that is starting."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            rpc = Rpc(url)
            assert rpc.call("eth_chainId") == hex(CHAIN_ID)
            return rpc
        except OSError:
            assert time.monotonic() < deadline, "anvil did not start"
            time.sleep(0.05)


def replay(source: Rpc, target: Rpc, blocks: int) -> None:
    """Every transaction in a block of its own, at the same time of the chain."""
    for number in range(1, blocks + 1):
        block = source.call("eth_getBlockByNumber", hex(number), False)
        [digest] = block["transactions"]
        target.call("evm_setNextBlockTimestamp", int(block["timestamp"], 16))
        raw = source.call("eth_getRawTransactionByHash", digest)
        assert target.call("eth_sendRawTransaction", raw) == digest
        target.call("evm_mine")
        assert target.call("eth_getTransactionReceipt", digest)["status"] == "0x1"
