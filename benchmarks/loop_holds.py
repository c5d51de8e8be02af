"""How long the event loop of a node is held while all kinds of work are asked of it at once.

    python -m benchmarks.loop_holds [--callbacks 1000000] [--kinds NAME ...] [--tls] [--json FILE]

The node measures itself (``log.slow_callback_ms``): processor time of each callback, of each turn of the loop, and
for how long a callback was blocked, by a lock or by the interpreter lock, for example. Prints the histograms, and
the callbacks that held the loop above 2 ms by name; 1 if one of them took that of processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed

import zvmd
from benchmarks.attacks.attack import RpcError, Target, post
from benchmarks.attacks.quic import first_flight, initial
from storage.directory import layout
from tests.daemon import Daemon
from tests.unit.http3.clients import Http3Client, head

LIMIT_MS = 2.0
LOOK_SECONDS = 5.0
SENDER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
X = "0x" + "11" * 20
SMALL = "0x602a60005260206000f3"
LOOPS = "0x62030d405b60019003806004575b00"
"""Counts down from 200,000."""
LOGS = "0x6103e85b8060006000a1600190038060035700"
"""A thousand logs with a topic."""
LARGE = "0x621e84806000f3"
"""RETURN of 2 MB: 4 MB of answer."""

READY = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"

Once = Callable[[], Awaitable[object]]
"""One round of one client's work."""


class Load:
    """Clients of all kinds, and how often each did its work."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.rounds: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.transaction = ""
        self.logs_of: dict[str, str] = {}

    async def prepare(self) -> None:
        """A block with a thousand logs, and a transaction to trace."""
        target = self.target
        await target.rpc("anvil_setCode", X, LOGS)
        sent = {"from": SENDER, "to": X, "gas": "0x1312d00"}
        self.transaction = await target.rpc("eth_sendTransaction", sent)
        receipt = await target.rpc("eth_getTransactionReceipt", self.transaction)
        self.logs_of = {"fromBlock": receipt["blockNumber"], "toBlock": receipt["blockNumber"]}

    async def repeat(self, name: str, once: Once, pause: float) -> None:
        """Again and again, until cancelled; what the node refuses is counted."""
        while True:
            try:
                await once()
                self.rounds[name] += 1
            except (OSError, RpcError, EOFError, ConnectionClosed, AssertionError, zvmd.ZvmdError) as error:
                self.faults[f"{name}: {type(error).__name__} {str(error)[:80]}"] += 1
                await asyncio.sleep(0.2)
            await asyncio.sleep(pause)

    # -- HTTP --------------------------------------------------------------------------------------

    async def kept_alive(self, bodies: Callable[[], bytes], count: int) -> None:
        """So many requests on one connection."""
        reader, writer = await self.target.connect()
        try:
            for _ in range(count):
                await post(reader, writer, bodies())
        finally:
            writer.close()

    async def singles(self) -> None:
        """Small calls, one after the other."""
        kinds = itertools.cycle([body("eth_blockNumber"), call(SMALL), body("eth_getBalance", SENDER, "latest")])
        await self.kept_alive(lambda: next(kinds), 200)

    async def batches(self) -> None:
        """Batches of 10 to 1,000 calls, some of which are inline, some are unknown."""
        methods = ("eth_blockNumber", "eth_chainId", "eth_getBlockByNumber", "eth_nonsense", "net_version")
        params: dict[str, list[Any]] = {"eth_getBlockByNumber": ["latest", True]}

        def batch() -> bytes:
            chosen = random.choices(methods, k=random.choice((10, 100, 1000)))
            return b"[" + b",".join(body(name, *params.get(name, [])) for name in chosen) + b"]"

        await self.kept_alive(batch, 10)

    async def batches_of_calls(self) -> None:
        """Batches of 1,000 equal calls."""
        await self.kept_alive(lambda: b"[" + b",".join([call(SMALL)] * 300) + b"]", 5)

    async def large_bodies(self) -> None:
        """Bodies of 60 KB to 5 MB: code in an override, many values, and what is no JSON."""
        kinds = (
            lambda size: call("0x" + "5b" * (min(size, 4_000_000) // 2)),
            lambda size: body("eth_getLogs", {"topics": [["0x" + "22" * 32] * (size // 70)]}),
            lambda size: body("web3_sha3", "0x" + "00" * (size // 2)),
            lambda size: b'["' + b"a" * size,
            lambda size: b"[" + b",".join([body("eth_chainId")] * min(1000, size // 60)) + b"]",
        )
        size = random.choice((63_000, 200_000, 1_000_000, 4_900_000))
        await self.kept_alive(lambda: random.choice(kinds)(size), 2)

    async def large_answers(self) -> None:
        """Answers of 4 MB."""
        await self.kept_alive(lambda: call(LARGE), 3)

    async def logs(self) -> None:
        """A thousand logs, some hundred KB."""
        await self.kept_alive(lambda: body("eth_getLogs", self.logs_of), 5)

    async def traces(self) -> None:
        """Traces of loops, and of a transaction with a thousand logs."""
        options = {"stateOverrides": {X: {"code": LOOPS}}}
        bodies = itertools.cycle(
            [
                body("debug_traceCall", {"to": X, "gas": "0x30d40"}, "latest", options),
                body("debug_traceTransaction", self.transaction, {"tracer": "callTracer"}),
                body("debug_traceBlockByNumber", self.logs_of["fromBlock"], {}),
                body("trace_transaction", self.transaction),
            ]
        )
        await self.kept_alive(lambda: next(bodies), 4)

    async def sends(self) -> None:
        """Transactions and blocks."""
        to = "0x" + os.urandom(20).hex()
        bodies = itertools.cycle(
            [body("eth_sendTransaction", {"from": SENDER, "to": to, "value": "0x1"})] * 8
            + [body("eth_sendTransaction", {"from": SENDER, "to": X, "gas": "0x1312d00"}), body("anvil_mine", "0x20")]
        )
        await self.kept_alive(lambda: next(bodies), 10)

    async def heavy(self) -> None:
        """Calls that run for long, and a status."""
        await self.kept_alive(lambda: call(LOOPS, "0x2faf080"), 2)
        await self.kept_alive(lambda: body("zvmd_status"), 2)

    async def sessions(self) -> None:
        """Debug sessions: made, stepped, run, looked at, closed."""
        rpc = self.target.rpc
        number = (await rpc("zvmd_session_create", {"code": LOOPS}))["id"]
        for name, *params in (("step", 100), ("run", 200_000), ("step_back", 1_000), ("state",), ("list",)):
            await rpc(f"zvmd_session_{name}", *([number] if name != "list" else []), *params)
        await rpc("zvmd_session_close", number)

    async def churn(self) -> None:
        """Connections that come and go, with and without a request, and bytes that are not HTTP."""
        said = random.choice((b"", b"garbage\r\n\r\n", READY, b"POST / HT"))
        reader, writer = await self.target.connect()
        writer.write(said)
        if said.endswith(b"\r\n\r\n"):
            await reader.read(100)
        writer.close()

    # -- unix sockets ------------------------------------------------------------------------------

    async def ipc(self) -> None:
        """Values of JSON on the socket of geth's clients: single ones, and batches of them."""
        path = self.target.data_dir / layout.IPC
        reader, writer = await asyncio.open_unix_connection(path, limit=2**24)
        try:
            for _ in range(20):
                batch = b"[" + b",".join([call(SMALL)] * 50) + b"]"
                values = [*[body("eth_blockNumber")] * 20, call(SMALL), batch, body("eth_getLogs", self.logs_of)]
                writer.write(b"\n".join(values) + b"\n")
                for _ in values:
                    await reader.readuntil(b"\n")
        finally:
            writer.close()

    async def frames(self) -> None:
        """Frames of zvmd/1 on a unix socket, many in flight."""
        await self._framed(f"unix://{self.target.data_dir / layout.SOCKET}")

    # -- WebSocket and QUIC ------------------------------------------------------------------------

    async def websocket(self) -> None:
        """Requests, and 16 subscriptions of all kinds beside them."""
        scheme = "ws" if self.target.tls is None else "wss"
        url = f"{scheme}://{self.target.host}:{self.target.http_port}"
        async with connect_websocket(url, ssl=self.target.tls, max_size=None, close_timeout=1) as socket:
            for kind in itertools.islice(itertools.cycle((["newHeads"], ["logs", {}], ["newPendingTransactions"])), 16):
                await socket.send(body("eth_subscribe", *kind))
            for _ in range(300):
                await socket.send(random.choice((body("eth_blockNumber"), call(SMALL))))
            ended = time.monotonic() + 5
            while time.monotonic() < ended:
                with suppress(TimeoutError):
                    await asyncio.wait_for(socket.recv(), 1)

    async def quic(self) -> None:
        """Calls and sends on a connection, many in flight."""
        await self._framed(f"quic://{self.target.host}:{self.target.quic_port}")

    async def _framed(self, url: str) -> None:
        async with zvmd.connect(url, data_dir=self.target.data_dir) as client:
            for _ in range(10):
                await asyncio.gather(
                    *(client.rpc("eth_call", *params_of(SMALL)) for _ in range(64)),
                    *(client.rpc("eth_blockNumber") for _ in range(64)),
                    client.rpc("eth_getLogs", self.logs_of),
                    client.rpc("eth_sendTransaction", {"from": SENDER, "to": X, "value": "0x0", "gas": "0x1312d00"}),
                )

    async def quic_events(self) -> None:
        """All logs and heads from the first block on, for some seconds."""
        url = f"quic://{self.target.host}:{self.target.quic_port}"
        async with zvmd.connect(url, data_dir=self.target.data_dir) as client:
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    async for _ in client.events("logs", cursor=(0, 0)):
                        pass

    async def http3(self) -> None:
        """Requests of all sizes on a connection, some at once."""
        configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE)
        connection = QuicConnection(configuration=configuration)
        address = (self.target.host, self.target.quic_port)
        transport, client = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Http3Client(connection), remote_addr=address
        )
        try:
            async with asyncio.timeout(30):
                client.connect(address)
                await client.shaken.wait()
                for _ in range(3):
                    large = body("eth_getLogs", {"topics": [["0x" + "22" * 32] * 1_000]})
                    bodies = [*[body("eth_blockNumber")] * 16, call(SMALL), body("eth_getLogs", self.logs_of), large]
                    await asyncio.gather(*(client.ask(head(), item) for item in bodies))
        finally:
            client.close()
            transport.close()

    async def quic_strangers(self) -> None:
        """Initials of random bytes, and real ones of clients that are not heard of again."""
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(self.target.host, self.target.quic_port)
        )
        real = first_flight((self.target.host, self.target.quic_port))
        for _ in range(20):
            transport.sendto(initial())
            transport.sendto(os.urandom(100))
        transport.sendto(real)
        transport.close()

    def kinds(self) -> dict[str, tuple[Once, int, float]]:
        """Each kind of work, on how many connections it is done, and seconds of pause between two rounds."""
        return {
            "singles": (self.singles, 4, 0.0),
            "batches": (self.batches, 2, 0.02),
            "batches of calls": (self.batches_of_calls, 2, 0.05),
            "large bodies": (self.large_bodies, 2, 0.1),
            "large answers": (self.large_answers, 1, 0.3),
            "logs": (self.logs, 2, 0.1),
            "traces": (self.traces, 2, 0.1),
            "sends": (self.sends, 3, 0.01),
            "heavy": (self.heavy, 2, 0.1),
            "sessions": (self.sessions, 1, 0.1),
            "churn": (self.churn, 4, 0.002),
            "websocket": (self.websocket, 6, 0.0),
            "quic": (self.quic, 2, 0.0),
            "quic events": (self.quic_events, 2, 0.0),
            "ipc": (self.ipc, 1, 0.1),
            "frames": (self.frames, 1, 0.1),
            "http3": (self.http3, 2, 0.05),
            "quic strangers": (self.quic_strangers, 1, 0.02),
        }


def body(method: str, *params: Any) -> bytes:
    """A JSON-RPC request."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


def call(code: str, gas: str = "0x989680") -> bytes:
    """A call of that code."""
    return body("eth_call", *params_of(code, gas))


def params_of(code: str, gas: str = "0x989680") -> list[Any]:
    """Parameters of `call`."""
    return [{"to": X, "gas": gas}, "latest", {X: {"code": code}}]


async def measure(target: Target, callbacks: int, wanted: list[str]) -> tuple[dict[str, Any], Load]:
    """What the node measured while it was asked for all of that."""
    load = Load(target)
    await load.prepare()
    before = (await target.rpc("zvmd_status"))["loop"]
    started = {slow["name"] for slow in before["slow"]}
    print("during the start:", ", ".join(sorted(started)) or "nothing", file=sys.stderr)
    tasks = [
        asyncio.create_task(load.repeat(name, once, pause))
        for name, (once, count, pause) in load.kinds().items()
        if not wanted or name in wanted
        for _ in range(count)
    ]
    found: dict[str, Any] = {"callbacks": 0}
    while found["callbacks"] < callbacks:
        await asyncio.wait(tasks, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
        found = (await target.rpc("zvmd_status", seconds=120))["loop"]
        holds = sum(item["count"] for item in found["slow"])
        print(f"{found['callbacks']:,} callbacks, {found['turns']:,} turns, {holds} holds", file=sys.stderr)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=LOOK_SECONDS)
    return since(before, found), load


def since(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What was measured without what the start has cost, when nobody was served. The longest times are those of all."""
    known = {slow["name"]: slow for slow in before["slow"]}
    left = []
    for slow in found["slow"]:
        earlier = known.get(slow["name"], {"count": 0, "blockedCount": 0})
        counts = {key: slow[key] - earlier[key] for key in ("count", "blockedCount")}
        if any(counts.values()):
            left.append({**slow, **counts})
    classes = ("cpu", "elapsed", "blocked", "turnsCpu")
    less = {key: [now - then for now, then in zip(found[key], before[key], strict=True)] for key in classes}
    totals = {key: found[key] - before[key] for key in ("turns", "callbacks")}
    return {**found, **totals, **less, "slow": left}


def show(found: dict[str, Any], load: Load) -> None:
    """Print histograms and holds."""
    print(f"{found['turns']:,} turns, {found['callbacks']:,} callbacks")
    bounds = [*(f"<= {bound:g}" for bound in found["bounds"]), "more"]
    print("| ms | callbacks, processor time | callbacks, elapsed | callbacks, blocked | turns, processor time |")
    print("|---|---|---|---|---|")
    for bound, *counts in zip(bounds, *(found[key] for key in ("cpu", "elapsed", "blocked", "turnsCpu")), strict=True):
        print(f"| {bound} | {' | '.join(f'{count:,}' for count in counts)} |")
    print("\n| callback | holds | longest ms | blocked | longest ms |\n|---|---|---|---|---|")
    for slow in found["slow"]:
        cells = (slow["name"], slow["count"], slow["cpuMost"], slow["blockedCount"], slow["blockedMost"])
        print(f"| {' | '.join(map(str, cells))} |")
    print("\nrounds:", ", ".join(f"{name} {count:,}" for name, count in sorted(load.rounds.items())))
    for fault, count in load.faults.most_common(20):
        print(f"refused {count:,} times: {fault}")


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="benchmarks.loop_holds", description="Holds of the event loop.")
    parser.add_argument("--callbacks", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="*", default=[], metavar="NAME", help="only these kinds of work")
    parser.add_argument("--tls", action="store_true", help="HTTP and WebSockets over TLS")
    parser.add_argument("--json", type=Path, help="write what was measured there, too")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zvmd-holds-") as directory:
        environment = {"ZVMD_LOG__SLOW_CALLBACK_MS": str(LIMIT_MS)}
        arguments = ("--http-tls", "auto") if wanted.tls else ()
        with Daemon(Path(directory) / "node", *arguments, environment=environment) as daemon:
            authority = daemon.data_dir / "tls" / "authority.pem"
            tls = ssl.create_default_context(cafile=authority) if wanted.tls else None
            target = Target("127.0.0.1", daemon.http_port, daemon.quic_port, daemon.data_dir, daemon.pid, tls)
            found, load = asyncio.run(measure(target, wanted.callbacks, wanted.kinds))
    show(found, load)
    if wanted.json:
        wanted.json.write_text(json.dumps(found))
    return int(any(slow["count"] for slow in found["slow"]))


if __name__ == "__main__":
    sys.exit(main())
