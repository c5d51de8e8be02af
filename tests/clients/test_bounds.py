"""A node with small limits and hostile calls: each ends with its error, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import zvmd
from benchmarks.attacks.attack import Target
from tests.daemon import Daemon
from tests.rpc import Rpc, RpcFailed

X = "0x" + "11" * 20
ME = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
RECURSION = "0x5b60006000600060006000305af150600056"
"""Calls itself with all gas, for ever."""
LOOP = "0x5b600056"
KECCAK = "0x5b620fffff60002050600056"
IDENTITY = "0x5b6000600060406000600060045af150600056"
BLAKE = "0x63ffffffff60e01b6000526000600060d5600060095afa00"
"""All the rounds there are, at once."""
PAIRINGS = "0x5b6000600063004b0000600060085afa50600056"
SUMS = "0x5b60006000620c80006000600c5afa50600056"
TRANSIENT = "0x5b5a5a5d600056"
LOGS = "0x5b60206000a0600056"
GROWING_LIST = "0x5a54505b600356"
MEGABYTE = "0x620fffff6000f3"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A node on which a call has endless gas and a second."""
    environment = {
        "ZVMD_LIMITS__CALL_SECONDS": "1",
        "ZVMD_LIMITS__CALL_GAS": str(10**13),
        "ZVMD_LIMITS__CALL_MEMORY_BYTES": str(32 * 2**20),
        "ZVMD_LIMITS__ANSWER_BYTES": str(5_000_000),
    }
    daemon = Daemon(tmp_path_factory.mktemp("bounds") / "node", environment=environment)
    daemon.start()
    yield Target("127.0.0.1", daemon.http_port, daemon.quic_port, daemon.data_dir, daemon.pid)
    daemon.close()


def of(code: str, **fields: Any) -> list[Any]:
    return [{"to": X, **fields}, "latest", {X: {"code": code}}]


def traced(code: str, **options: Any) -> list[Any]:
    return [{"to": X}, "latest", {"stateOverrides": {X: {"code": code}}, **options}]


HOSTILE: dict[str, tuple[str, list[Any], str]] = {
    "recursion": ("eth_call", of(RECURSION), "rpc.timeout"),
    "a loop": ("eth_call", of(LOOP), "rpc.timeout"),
    "keccak of a megabyte": ("eth_call", of(KECCAK), "rpc.timeout"),
    "a precompile in a loop": ("eth_call", of(IDENTITY), "rpc.timeout"),
    "blake2f": ("eth_call", of(BLAKE), "rpc.timeout"),
    "pairings": ("eth_call", of(PAIRINGS), "rpc.timeout"),
    "sums of points": ("eth_call", of(SUMS), "rpc.timeout"),
    "transient storage": ("eth_call", of(TRANSIENT), "rpc.memory|rpc.timeout"),
    "logs": ("eth_call", of(LOGS), "rpc.memory|rpc.timeout"),
    "an estimate": ("eth_estimateGas", of(RECURSION, gas="0x1c9c380"), "rpc.timeout|evm.halt"),
    "an access list": ("eth_createAccessList", of(RECURSION), "rpc.timeout|rpc.limit"),
    "an access list that grows": ("eth_createAccessList", of(GROWING_LIST), "rpc.timeout|rpc.limit"),
    "a call tracer": ("debug_traceCall", traced(LOOP, tracer="callTracer"), "rpc.timeout"),
    "call tracer, recursion": ("debug_traceCall", traced(RECURSION, tracer="callTracer"), "rpc.timeout|rpc.limit"),
    "four bytes": ("debug_traceCall", traced(RECURSION, tracer="4byteTracer"), "rpc.timeout"),
    "prestate": ("debug_traceCall", traced(GROWING_LIST, tracer="prestateTracer"), "rpc.timeout|rpc.limit"),
    "struct logs": ("debug_traceCall", traced(LOOP), "rpc.timeout|rpc.limit"),
    "one struct log": ("debug_traceCall", traced(LOOP, limit=1), "rpc.timeout"),
    "a read at an LSN": ("zvmd_read", [0, "eth_call", of(RECURSION)], "rpc.timeout"),
}


def test_every_hostile_call_ends_with_its_error_and_others_are_answered(target: Target) -> None:
    def ask(name: str) -> str:
        method, params, _ = HOSTILE[name]
        return refusal(target, method, *params)

    with ThreadPoolExecutor(len(HOSTILE)) as pool:
        answers = {name: pool.submit(ask, name) for name in HOSTILE}
        rpc = Rpc(f"http://127.0.0.1:{target.http_port}")
        answered = 0
        while not all(answer.done() for answer in answers.values()):
            assert rpc.call("eth_call", *of("0x602a60005260206000f3")) == "0x" + "00" * 31 + "2a"
            answered += 1
    assert answered
    for name, answer in answers.items():
        assert answer.result() in HOSTILE[name][2].split("|"), name
    assert idle(target)


def refusal(target: Target, method: str, *params: Any) -> str:
    with pytest.raises(RpcFailed) as caught:
        Rpc(f"http://127.0.0.1:{target.http_port}").call(method, *params)
    return slug_of(caught.value.code, str(caught.value), caught.value.data)


def slug_of(code: int, message: str, data: Any) -> str:
    """The slug of an error; for a method that takes a transaction, whose errors have none, what the code stands for."""
    if isinstance(data, dict):
        return str(data["code"])
    of_limits = "rpc.memory" if "it holds" in message else "rpc.limit"
    timed_out = "rpc.timeout" if "timeout" in message else ""
    return {-32000: timed_out, -32005: of_limits, -32015: "evm.halt"}[code]


def idle(target: Target) -> bool:
    """Whether no read but this question is under way, once what was stopped has ended."""
    rpc = Rpc(f"http://127.0.0.1:{target.http_port}")
    while (readers := rpc.call("zvmd_status")["readers"])["busy"] > 1 or readers["waiting"]:
        pass
    return bool(readers["long"] == 0)


def test_a_trace_ends_after_the_time_that_its_options_say(target: Target) -> None:
    rpc = Rpc(f"http://127.0.0.1:{target.http_port}")
    for options in ({"tracer": "callTracer"}, {"limit": 1}):
        rpc = Rpc(f"http://127.0.0.1:{target.http_port}")
        with pytest.raises(RpcFailed, match=r"timeout = 0\.05s"):
            rpc.call("debug_traceCall", *traced(LOOP, timeout="50ms", **options))


def test_the_calls_of_a_batch_share_its_time(target: Target) -> None:
    before = Rpc(f"http://127.0.0.1:{target.http_port}").call("zvmd_status")["readers"]["stopped"]
    answers = batch(target, [("eth_call", of(RECURSION))] * 100)
    told = {slug_of(answer["error"]["code"], answer["error"]["message"], None) for answer in answers}
    assert told == {"rpc.timeout"}
    assert [answer["id"] for answer in answers] == list(range(100))
    after = Rpc(f"http://127.0.0.1:{target.http_port}").call("zvmd_status")["readers"]["stopped"]
    assert after > before  # one job of the readers has several calls of a batch


def test_a_batch_stops_at_its_limit_while_it_is_made(target: Target) -> None:
    """Two megabytes an answer: the third is too much, and the other 97 are not made."""
    for _ in range(5):
        answer = batch(target, [("eth_call", of(MEGABYTE))] * 100)
        if isinstance(answer, dict):  # else a busy machine has used up the batch's second before its bytes
            break
    assert answer["id"] is None
    assert answer["error"]["data"]["code"] == "rpc.limit"
    assert idle(target)
    held = Rpc(f"http://127.0.0.1:{target.http_port}").call("zvmd_status")["limits"]["large bodies and answers bytes"]
    assert held["used"] == 0


def batch(target: Target, calls: list[tuple[str, list[Any]]]) -> Any:
    requests = [
        {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        for number, (method, params) in enumerate(calls)
    ]
    return json.loads(asyncio.run(target.post(json.dumps(requests).encode())).body)


def test_what_was_asked_ends_with_its_connection(target: Target) -> None:
    """Six calls over HTTP, whose client hangs up at once; the time they have would be a second."""

    async def hang_up() -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": of(LOOP)}).encode()
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        for _ in range(6):
            _, writer = await asyncio.open_connection(target.host, target.http_port)
            writer.write(head.encode() + b"\r\n\r\n" + body)
            await writer.drain()
            writer.close()

    asyncio.run(hang_up())
    assert idle(target)


def test_quic_calls_end_too(target: Target) -> None:
    async def work() -> None:
        async with zvmd.connect(f"quic://127.0.0.1:{target.quic_port}", data_dir=target.data_dir) as client:
            tasks = [asyncio.ensure_future(client.rpc("eth_call", *of(RECURSION))) for _ in range(6)]
            assert await client.rpc("eth_call", *of("0x602a60005260206000f3"))
            with pytest.raises(zvmd.ZvmdError, match="execution aborted"):
                await tasks[0]
            left = [asyncio.ensure_future(client.rpc("eth_call", *of(LOOP))) for _ in range(6)]
            await asyncio.sleep(0)
            for task in [*tasks, *left]:
                task.cancel()
            await asyncio.gather(*tasks, *left, return_exceptions=True)

    asyncio.run(work())
    assert idle(target)


def test_a_transaction_is_sent_while_reads_are_taken(target: Target) -> None:
    """Its gas is estimated on a reader thread, like other short reads."""
    url = f"http://127.0.0.1:{target.http_port}"
    with ThreadPoolExecutor(8) as pool:
        heavy = [pool.submit(refusal, target, "zvmd_read", 0, "eth_call", of(RECURSION)) for _ in range(8)]
        sent = Rpc(url).call("eth_sendTransaction", {"from": ME, "to": X, "value": "0x1"})
        assert len(sent) == 66
        assert {answer.result() for answer in heavy} == {"rpc.timeout"}
    assert refusal(target, "eth_sendTransaction", {"from": ME, "data": RECURSION}) in ("rpc.timeout", "evm.halt")


def test_gas_has_the_block_as_its_least_limit(tmp_path: Path) -> None:
    """``call_gas`` bounds calls, but what a transaction can do a call can do too."""
    daemon = Daemon(tmp_path / "node", environment={"ZVMD_LIMITS__CALL_GAS": "100000"})
    daemon.start("--block-gas-limit", "40000000")
    try:
        rpc = daemon.rpc()
        gas = "0x5a60005260206000f3"
        assert 39_000_000 < int(rpc.call("eth_call", *of(gas)), 16) < 40_000_000
        assert 39_000_000 < int(rpc.call("eth_call", *of(gas, gas=hex(10**12))), 16) < 40_000_000
        rpc.call("evm_setBlockGasLimit", hex(60_000_000))
        rpc.call("evm_mine")
        assert 59_000_000 < int(rpc.call("eth_call", *of(gas)), 16) < 60_000_000
    finally:
        daemon.close()
