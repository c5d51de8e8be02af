"""Contract calls over QUIC to nodes with either library: processor time of the node per call, and calls per second.

    python -m benchmarks.quic_libraries [--rounds 5] [--calls 3000]

Both nodes run all the time and take turns, round by round; the table shows medians. The client is the SDK, with qh3,
for both. Every answer is compared with what the contract holds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import transfers
from benchmarks.quic import IN_FLIGHT
from tests.contracts import dev_account
from tests.daemon import Daemon
from zvmd.connection import WireConnection, open_connection, shut
from zvmd.endpoint import find_endpoint
from zvmd.frames import CallContract, CallOutcome, encode_frame

LIBRARIES = ("qh3", "aioquic")
STREAMS = 16
"""Requests in flight, each on a stream of its own, of which a connection may have 32."""
CONNECT_SECONDS = 30.0

Call = Callable[[], Awaitable[None]]
Results = dict[tuple[str, str], list[tuple[float, float]]]
"""By shape and library: (processor time per call, microseconds; calls per second) of each round."""


class Caller:
    """A connection that asks for a balance."""

    def __init__(self, connection: WireConnection, token: str) -> None:
        self._connection = connection
        self._to = bytes.fromhex(token.removeprefix("0x"))
        self._data = bytes.fromhex(transfers.balance_of(dev_account(1).address).removeprefix("0x"))
        self._expected = transfers.TOKENS_EACH.to_bytes(32, "big")
        self._next_stream = 4

    async def on_one_stream(self) -> None:
        """A call as the SDK makes it."""
        number = self._connection.next_id()
        answer = await self._connection.request(CallContract(number, self._to, self._data), number, CallOutcome)
        assert answer.output == self._expected

    async def on_own_stream(self) -> None:
        """A call on a stream that ends with it."""
        number = self._connection.next_id()
        stream_id, self._next_stream = self._next_stream, self._next_stream + 4
        answer = self._connection._waiting[number] = asyncio.get_running_loop().create_future()
        message = encode_frame(CallContract(number, self._to, self._data))
        self._connection._quic.send_stream_data(stream_id, message, end_stream=True)
        self._connection._transmit_soon()
        assert (await answer).output == self._expected
        del self._connection._waiting[number]


async def measure(daemon: Daemon, token: str, calls: int) -> dict[str, tuple[float, float]]:
    """Processor time per call and calls per second of each shape."""
    endpoint = find_endpoint(f"quic://127.0.0.1:{daemon.quic_port}", data_dir=daemon.data_dir, environ={})
    connection = await open_connection(endpoint, "benchmark", CONNECT_SECONDS)
    caller = Caller(connection, token)
    shapes: dict[str, tuple[Call, int]] = {
        "one at a time": (caller.on_one_stream, 1),
        f"{IN_FLIGHT} in flight on one stream": (caller.on_one_stream, IN_FLIGHT),
        f"{STREAMS} in flight, a stream for each": (caller.on_own_stream, STREAMS),
    }
    try:
        return {name: await _timed(daemon, call, width, calls) for name, (call, width) in shapes.items()}
    finally:
        await shut(connection)


def worked_seconds(pid: int) -> float:
    """Processor time of a process's threads so far, by the scheduler, which counts nanoseconds."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


async def _timed(daemon: Daemon, call: Call, width: int, calls: int) -> tuple[float, float]:
    async def some(count: int) -> None:
        for _ in range(count):
            await call()

    await some(20)
    worked, begun = worked_seconds(daemon.pid), time.perf_counter()
    await asyncio.gather(*(some(calls // width) for _ in range(width)))
    made = calls // width * width
    return (worked_seconds(daemon.pid) - worked) / made * 1e6, made / (time.perf_counter() - begun)


def run(rounds: int, calls: int) -> Results:
    """All rounds."""
    results: Results = defaultdict(list)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nodes = {}
        for name in LIBRARIES:
            daemon = Daemon(folder / name, environment={"ZVMD_QUIC__LIBRARY": name})
            stack.enter_context(daemon)
            nodes[name] = daemon, transfers.deploy_token(daemon.rpc(), range(1, 2))
        for number in range(rounds):
            for name in LIBRARIES if number % 2 == 0 else reversed(LIBRARIES):
                for shape, figures in asyncio.run(measure(*nodes[name], calls)).items():
                    results[shape, name].append(figures)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=3_000)
    options = parser.parse_args()
    results = run(options.rounds, options.calls)
    print("| calls | qh3 us | aioquic us | aioquic/qh3 | qh3 calls/s | aioquic calls/s |")
    print("|---|---:|---:|---:|---:|---:|")
    for shape in dict.fromkeys(shape for shape, _ in results):
        (qh3_us, qh3_rate), (other_us, other_rate) = (
            [statistics.median(column) for column in zip(*results[shape, name], strict=True)] for name in LIBRARIES
        )
        times = f"{qh3_us:.0f} | {other_us:.0f} | {other_us / qh3_us:.2f}"
        print(f"| {shape} | {times} | {qh3_rate:,.0f} | {other_rate:,.0f} |")


if __name__ == "__main__":
    main()
