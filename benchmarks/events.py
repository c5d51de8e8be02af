"""From durable to the client: how long an event takes from the log's sync to who follows the chain.

    python -m benchmarks.events [--transfers 400] [--pause 0.01]

One client sends ERC-20 transfers one at a time; others follow ``heads`` and ``logs`` over QUIC, ``newHeads`` and
``logs`` over WebSocket, each on a connection of its own. The node runs in a process of its own and notes when the sync
of a block's records has returned, on the clock that all processes of a machine share (CLOCK_MONOTONIC). An event's time
is taken when the client library has decoded it. What it says is compared with the block before the times count: its
hash, its number, and the transfer that was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import websockets

import zvmd
import zvmd.frames
from benchmarks import transfers
from benchmarks.rates import HOLDERS, PIPELINED_ACCOUNT
from benchmarks.targets import ACCOUNTS, NO_ANSWERS_KEPT
from tests.daemon import Daemon
from tests.rpc import Rpc

NOTE = struct.Struct("<QQ")
"""Number of a block, and when it was durable, nanoseconds."""
NOTES_VARIABLE = "ZVMD_BENCHMARK_NOTES"
Seen = dict[int, tuple[int, str]]
"""By block: when its event came, nanoseconds, and what it said."""


def run_node() -> None:
    """The node's process: ``zvmd`` that also notes each block that is durable, before it is published."""
    import os

    from node.cli.main import main
    from node.engine.committer import Committer

    file = os.open(os.environ.pop(NOTES_VARIABLE), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    publish = Committer._publish

    def noted(self: Committer, turn: Any) -> None:
        durable = time.monotonic_ns()
        publish(self, turn)
        os.write(file, NOTE.pack(self._store.head.number, durable))

    Committer._publish = noted  # type: ignore[method-assign]
    main()


class Following:
    """The node, and what has come of its events."""

    def __init__(self, daemon: Daemon, notes: Path) -> None:
        self._daemon = daemon
        self._notes = notes
        self.seen: dict[str, Seen] = {}

    async def quic(self, kind: str) -> None:
        """Follow over QUIC."""
        seen = self.seen[f"QUIC, {kind}"] = {}
        async with zvmd.connect(self.quic_url, data_dir=self._daemon.data_dir) as client:
            async for event in client.events(kind):
                now = time.monotonic_ns()
                said = event.head.hash if isinstance(event, zvmd.frames.HeadEvent) else event.log.transaction_hash
                seen[event.cursor[0]] = now, "0x" + said.hex()

    async def websocket(self, kind: str) -> None:
        """Follow over a WebSocket."""
        seen = self.seen[f"WebSocket, {kind}"] = {}
        async with websockets.connect(self._daemon.http_url.replace("http", "ws") + "/ws") as socket:
            params = [kind] if kind == "newHeads" else [kind, {}]
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": params}))
            async for text in socket:
                now, told = time.monotonic_ns(), json.loads(text)
                if "params" in told:
                    found = told["params"]["result"]
                    number, said = (("number", "hash") if kind == "newHeads" else ("blockNumber", "transactionHash"))
                    seen[int(found[number], 16)] = now, found[said]

    @property
    def quic_url(self) -> str:
        """The node's address."""
        return f"quic://127.0.0.1:{self._daemon.quic_port}"

    def durable(self) -> dict[int, int]:
        """When each block was durable: of the notes of a block the first, as later turns may have none."""
        times: dict[int, int] = {}
        for number, at in NOTE.iter_unpack(self._notes.read_bytes()):
            times.setdefault(number, at)
        return times

    async def send(self, raws: list[bytes], pause_s: float) -> list[zvmd.frames.Sent]:
        """Send the transfers, each when the one before is in its block and a pause is over."""
        sent = []
        async with zvmd.connect(self.quic_url, data_dir=self._daemon.data_dir) as client:
            for raw in raws:
                sent.append(await client.send_raw(raw, mined=True))
                await asyncio.sleep(pause_s)
        return sent


async def measure(following: Following, raws: list[bytes], pause_s: float) -> dict[str, list[float]]:
    """Milliseconds from durable to the client, by stream, ascending; raises `AssertionError` for a wrong event."""
    streams = [following.quic("heads"), following.quic("logs"),
               following.websocket("newHeads"), following.websocket("logs")]  # fmt: skip
    tasks = [asyncio.ensure_future(stream) for stream in streams]
    async with zvmd.connect(following.quic_url, data_dir=following._daemon.data_dir) as client:
        waiting = iter(raws)
        while not await _all_follow(following, next(waiting), tasks):
            pass
        sent = await following.send(list(waiting), pause_s)
        await _until_all_came(following, {one.block_number for one in sent})
        hashes = {one.block_number: (await client.block(one.block_number)).json["hash"] for one in sent}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    durable, found = following.durable(), {}
    for name, seen in following.seen.items():
        for one in sent:
            expected = hashes[one.block_number] if "eads" in name else "0x" + one.hash.hex()
            assert seen[one.block_number][1] == expected, (name, one.block_number)
        found[name] = sorted((seen[one.block_number][0] - durable[one.block_number]) / 1e6 for one in sent)
    return found


async def _all_follow(following: Following, raw: bytes, tasks: list[asyncio.Task[None]]) -> bool:
    """Whether every stream has told of a transfer sent now."""
    for task in tasks:
        if task.done():
            task.result()
    [one] = await following.send([raw], 0.2)
    return len(following.seen) == len(tasks) and all(one.block_number in seen for seen in following.seen.values())


async def _until_all_came(following: Following, numbers: set[int | None]) -> None:
    async with asyncio.timeout(30):
        while not all(numbers <= seen.keys() for seen in following.seen.values()):
            await asyncio.sleep(0.01)


def events_ms(transfers_sent: int, pause_s: float) -> dict[str, list[float]]:
    """Of a new node: `measure`."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        daemon = Daemon(
            Path(folder) / "data", "--accounts", str(ACCOUNTS),
            command=(sys.executable, "-c", "from benchmarks.events import run_node; run_node()"),
            environment=NO_ANSWERS_KEPT | {NOTES_VARIABLE: str(notes), "PYTHONPATH": str(Path(__file__).parents[1])},
        )  # fmt: skip
        try:
            daemon.start()
            token = transfers.deploy_token(Rpc(daemon.http_url), HOLDERS)
            signed = transfers.tokens(PIPELINED_ACCOUNT, 0, transfers_sent, token)
            raws = [bytes.fromhex(one.raw[2:]) for one in signed]
            return asyncio.run(measure(Following(daemon, notes), raws, pause_s))
        finally:
            daemon.close()


def quantile(values: list[float], share: float) -> float:
    """Of ascending values."""
    return values[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transfers", type=int, default=400)
    parser.add_argument("--pause", type=float, default=0.01, help="seconds between two transfers")
    wanted = parser.parse_args()
    print("| from durable to the client, ms | p50 | p90 | p99 | most |\n|---|---:|---:|---:|---:|")
    for name, values in events_ms(wanted.transfers, wanted.pause).items():
        shown = " | ".join(f"{quantile(values, share):.2f}" for share in (0.5, 0.9, 0.99, 1.0))
        print(f"| {name} | {shown} |")


if __name__ == "__main__":
    main()
