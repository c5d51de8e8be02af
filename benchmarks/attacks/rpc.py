"""Requests that cost more to answer than to ask: gas, traces, batches, large answers, large bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from benchmarks.attacks.attack import Attack, HttpAnswer, RpcError, Target

ME = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
X = "0x" + "11" * 20
GAS = "0x3b9aca00"
RECURSION = "0x5b60006000600060006000305af150600056"
KECCAK = "0x5b620fffff60002050600056"
TRANSIENT = "0x5b5a5a5d600056"
LOGS = "0x5b60406000a0600056"
COLD_ACCOUNTS = "0x5b5a3150600056"
NOOP = "0x5b600056"
CREATES = "0x5b60006000600060f050600056"
MEGABYTES = "0x624c4b406000f3"
"""RETURN of 5 MB: 10 MB of answer, of the gas there is by default."""
MANY_MEGABYTES = "0x62a7d8c06000f3"
GROWING_LIST = "0x5a54505b600356"
LOG_LOOP = "0x6127105b8060006000a1600190038060035700"
"""Ten thousand logs with a topic."""
PRECOMPILES = {
    "ecrecover": "0x5b6000600060806000600060015af150600056",
    "sha256": "0x5b60006000620fffff6000600060025af150600056",
    "ripemd": "0x5b60006000620fffff6000600060035af150600056",
    "identity": "0x5b60006000604060006000600060045af150600056",
    "modexp": "0x6020600052602060205260206040525b600060006101006000600060055af150600056",
    "ecadd": "0x5b6000600060806000600060065af150600056",
    "ecmul": "0x5b6000600060606000600060075af150600056",
    "ecpairing": "0x5b600060006103c06000600060085af150600056",
    "blake2f": "0x63ffffffff60e01b6000525b6000600060d56000600060095af150600e56",
    "blake2f without rounds": "0x5b6000600060d56000600060095af150600056",
    "bls12 g1 add": "0x5b60006000610100600060006000600b5af150600056",
}


def of(code: str, **fields: Any) -> list[Any]:
    """Parameters of a call of that code."""
    return [{"to": X, **fields}, "latest", {X: {"code": code}}]


def traced(code: str, **options: Any) -> list[Any]:
    """Parameters of ``debug_traceCall``."""
    return [{"to": X, "gas": GAS}, "latest", {"stateOverrides": {X: {"code": code}}, **options}]


async def outcome(answer: Awaitable[Any]) -> str:
    """What came of a call: ``ok`` or the words of the error."""
    try:
        await answer
    except RpcError as error:
        return str(error.args[0].get("data", {}).get("code", error.args[0]["message"]))
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        return type(error).__name__
    return "ok"


def summed(outcomes: Iterable[str]) -> str:
    """How often each came."""
    found = list(outcomes)
    return ", ".join(f"{found.count(name)} {name}" for name in sorted(set(found)))


def at_once(count: int, method: str, params: list[Any]) -> Callable[[Target], Awaitable[str]]:
    """The same call on so many connections, all waited for."""

    async def run(target: Target) -> str:
        return summed(await asyncio.gather(*(outcome(target.rpc(method, *params)) for _ in range(count))))

    return run


def again_and_again(count: int, seconds: float, method: str, params: list[Any]) -> Callable[[Target], Awaitable[str]]:
    """So many connections, each asking again as soon as it is answered."""

    async def run(target: Target) -> str:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        outcomes: list[str] = []

        async def one() -> None:
            while loop.time() < end:
                outcomes.append(await outcome(target.rpc(method, *params)))

        await asyncio.gather(*(one() for _ in range(count)))
        return f"{count} connections for {seconds:g} s: {summed(outcomes)}"

    return run


def hanging_up(count: int, seconds: float, method: str, params: list[Any]) -> Callable[[Target], Awaitable[str]]:
    """The call on so many connections, all closed after some seconds; then half as long to see what is left of it."""

    async def run(target: Target) -> str:
        tasks = [asyncio.ensure_future(outcome(target.rpc(method, *params))) for _ in range(count)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(seconds / 2)
        readers = (await target.rpc("zvmd_status"))["readers"]
        left = f"{readers['busy'] - 1} readers busy, {readers['waiting']} waiting"
        return f"{count}, hung up after {seconds:g} s; then {left}"

    return run


def batched(count: int, calls: int, method: str, params: list[Any]) -> Callable[[Target], Awaitable[str]]:
    """So many batches of that call at once."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return posted(count, msgspec.json.encode([request] * calls))


def posted(count: int, body: bytes) -> Callable[[Target], Awaitable[str]]:
    """The body on so many connections."""

    async def run(target: Target) -> str:
        answers = await asyncio.gather(*(target.post(body) for _ in range(count)))
        return f"{count} bodies of {len(body)} B; {summed(map(shape, answers))}"

    return run


def shape(answer: HttpAnswer) -> str:
    """Status, size and first error of an answer."""
    errors = answer.body.partition(b'"code":"')[2].partition(b'"')[0].decode()
    size = len(answer.body)
    return f"{answer.status} {size if size < 10_000 else f'{size / 1e6:.1f}M'} B {errors}".strip()


async def chain_of_logs(target: Target) -> str:
    """A block with a transaction of 10,000 logs; its hash."""
    await target.rpc("anvil_setCode", X, LOG_LOOP)
    return str(await target.rpc("eth_sendTransaction", {"from": ME, "to": X, "gas": "0xf42400"}))


def with_logs(run: Callable[[str], Callable[[Target], Awaitable[str]]]) -> Callable[[Target], Awaitable[str]]:
    """An attack on such a block."""

    async def attack(target: Target) -> str:
        return await run(await chain_of_logs(target))(target)

    return attack


async def heavy_overrides(target: Target) -> str:
    """Code of 2.4 MB, then a thousand accounts of 2 KB, in each of 20 calls."""
    large = {"0x" + "22" * 20: {"code": "0x" + "00" * 2_400_000}}
    many = {f"0x{number:040x}": {"code": "0x" + "00" * 2_000} for number in range(1_000)}
    calls = [target.rpc("eth_call", {"to": X}, "latest", given) for given in (large, many) for _ in range(10)]
    return summed(await asyncio.gather(*map(outcome, calls)))


async def unfinished_bodies(target: Target) -> str:
    """200 bodies of 4.9 MB that lack their last byte, for five seconds."""
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5000000\r\n\r\n"
    writers = []
    for _ in range(200):
        _, writer = await asyncio.open_connection(target.host, target.http_port)
        writer.write(head + b" " * 4_900_000)
        writers.append(writer)
    await asyncio.sleep(5)
    for writer in writers:
        writer.transport.abort()
    return f"{len(writers)} bodies"


async def unread_answers(target: Target) -> str:
    """60 answers of 10 MB that nobody reads."""
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": of(MEGABYTES)})
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writers = []
    for _ in range(60):
        _, writer = await asyncio.open_connection(target.host, target.http_port, limit=1)
        writer.write(head.encode() + b"\r\n\r\n" + body)
        writers.append(writer)
    await asyncio.sleep(10)
    for writer in writers:
        writer.transport.abort()
    return f"{len(writers)} requests"


def _bodies() -> Iterable[tuple[str, bytes]]:
    size = 5_000_000
    yield "empty arrays", b"[" + b"[]," * (size // 3) + b"[]]"
    yield "nested brackets", b"[" * size
    yield "an unterminated string", b"[" * 70 + b'"' + b'\\"' * (size // 2)
    yield "strings", b"[" + b'"",' * (size // 3) + b'""]'
    yield "numbers", b"[" + b"1," * (size // 2) + b"1]"
    yield "keys", b"{" + b'"":0,' * (size // 5) + b'"":0}'
    yield "one number", b"[" + b"1" * size + b"]"
    yield "escapes", b'["' + b"\\u0041" * (size // 6) + b'"]'
    yield "spaces", b"[" + b" " * size + b"]"


def _rpc(method: str, *params: Any) -> tuple[str, list[Any]]:
    return method, list(params)


_TRACE = _rpc("debug_traceCall", *traced(NOOP, tracer="callTracer"))
_PRESTATE = _rpc("debug_traceCall", *traced(NOOP, tracer="prestateTracer"))
_LIST = _rpc("eth_createAccessList", *of(GROWING_LIST, gas="0x1c9c380"))
_ALL_LOGS = _rpc("eth_getLogs", {"fromBlock": "0x0"})
_FEES = _rpc("eth_feeHistory", "0x400", "latest", list(range(100)))
_PROOF = _rpc("eth_getProof", X, [hex(slot) for slot in range(1_024)], "latest")
_READ = _rpc("zvmd_read", 0, "eth_call", of(RECURSION, gas=GAS))


async def reads_beside_transactions(target: Target) -> str:
    """Heavy reads at an LSN, and a client that sends one transaction after the other, which needs threads too."""
    reading = asyncio.ensure_future(again_and_again(8, 10, *_READ)(target))
    sent: list[str] = []
    while not reading.done():
        sent.append(await outcome(target.rpc("eth_sendTransaction", {"from": ME, "to": X, "value": "0x1"})))
        await asyncio.sleep(0.05)
    return f"{await reading}; transactions: {summed(sent)}"


def _traces(transaction: str) -> Callable[[Target], Awaitable[str]]:
    return batched(4, 20, "debug_traceTransaction", [transaction])


ATTACKS = (
    *(Attack("16", f"8 bodies of 5 MB: {name}", posted(8, body)) for name, body in _bodies()),
    Attack("16", "200 unfinished bodies of 4.9 MB", unfinished_bodies),
    Attack("7", "one batch of 100 x 10 MB", batched(1, 100, "eth_call", of(MEGABYTES))),
    Attack("7", "10 batches of 100 x 10 MB", batched(10, 100, "eth_call", of(MEGABYTES)), 60),
    Attack("7", "60 answers of 10 MB, not read", unread_answers, 30),
    Attack("8", "4 eth_call that recurse", at_once(4, "eth_call", of(RECURSION, gas=GAS)), 30),
    Attack("8", "64 connections that recurse", again_and_again(64, 10, "eth_call", of(RECURSION, gas=GAS)), 30),
    Attack("8", "8 eth_call with keccak", again_and_again(8, 10, "eth_call", of(KECCAK, gas=GAS)), 30),
    Attack("8", "4 eth_call that recurse, hung up", hanging_up(4, 2, "eth_call", of(RECURSION, gas=GAS)), 30),
    Attack("8", "batch of 100 keccak", batched(1, 100, "eth_call", of(KECCAK, gas=GAS)), 30),
    Attack("8", "8 eth_call with TSTORE", again_and_again(8, 10, "eth_call", of(TRANSIENT, gas=GAS)), 30),
    Attack("8", "8 eth_call with LOG0", again_and_again(8, 10, "eth_call", of(LOGS, gas=GAS)), 30),
    Attack("8", "8 eth_call on cold accounts", again_and_again(8, 10, "eth_call", of(COLD_ACCOUNTS, gas=GAS)), 30),
    Attack("8", "8 eth_call with CREATE", again_and_again(8, 10, "eth_call", of(CREATES, gas=GAS)), 30),
    *(
        Attack("8", f"4 eth_call with {name}", again_and_again(4, 6, "eth_call", of(code, gas=GAS)), 30)
        for name, code in PRECOMPILES.items()
    ),
    Attack("8", "4 estimates", again_and_again(4, 6, "eth_estimateGas", of(RECURSION)), 30),
    Attack("8", "4 debug_traceCall", at_once(4, *_TRACE), 30),
    Attack("8", "8 debug_traceCall with struct logs", at_once(8, "debug_traceCall", traced(NOOP)), 60),
    Attack("8", "8 debug_traceCall, prestate", at_once(8, *_PRESTATE), 30),
    Attack("8", "4 access lists that grow", at_once(4, *_LIST), 30),
    Attack("8", "4 batches of 100 eth_getLogs of 10,000 logs", with_logs(lambda _: batched(4, 100, *_ALL_LOGS)), 60),
    Attack("8", "4 batches of 20 traces of 10,000 logs", with_logs(_traces), 60),
    Attack("8", "eth_feeHistory 1024 x 100, batch of 100", batched(1, 100, *_FEES), 30),
    Attack("8", "eth_getProof of 1,024 slots, batch of 100", batched(1, 100, *_PROOF), 30),
    Attack("8", "overrides of 5 MB and 1,000 accounts", heavy_overrides, 60),
    Attack("17", "8 zvmd_read that recurse", again_and_again(8, 10, *_READ), 30),
    Attack("17", "8 zvmd_read that recurse, while somebody sends", reads_beside_transactions, 30),
    Attack(
        "8",
        "eth_call with TSTORE, 1e9 gas allowed",
        again_and_again(16, 10, "eth_call", of(TRANSIENT, gas=GAS)),
        30,
        environment={"ZVMD_LIMITS__CALL_GAS": "1000000000"},
    ),
    Attack(
        "19",
        "10 batches of 100 x 22 MB, 1e9 gas allowed",
        batched(10, 100, "eth_call", of(MANY_MEGABYTES, gas=GAS)),
        60,
        environment={"ZVMD_LIMITS__CALL_GAS": "1000000000"},
    ),
)  # fmt: skip
