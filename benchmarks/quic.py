"""Contract calls over QUIC with the public SDK: one at a time, and many in flight on one connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import zvmd
from benchmarks import transfers
from tests.contracts import dev_account
from tests.daemon import Daemon

IN_FLIGHT = 128

Number = tuple[str, str, float]
"""(what, unit, value)."""


def quic_calls(daemon: Daemon, token: str, calls: int) -> Iterable[Number]:
    """Calls of ``balanceOf`` per second and their latency; every answer is compared."""
    return asyncio.run(_measure(daemon, token, calls))


async def _measure(daemon: Daemon, token: str, calls: int) -> list[Number]:
    data = bytes.fromhex(transfers.balance_of(dev_account(1).address).removeprefix("0x"))
    url = f"quic://127.0.0.1:{daemon.quic_port}"
    async with zvmd.connect(url, data_dir=daemon.data_dir) as node:
        expected = await node.call_raw(token, data)
        assert 0 < int.from_bytes(expected, "big") <= transfers.TOKENS_EACH
        latencies = []
        begin = time.perf_counter()
        for _ in range(calls):
            start = time.perf_counter()
            assert await node.call_raw(token, data) == expected
            latencies.append(time.perf_counter() - start)
        alone = calls / (time.perf_counter() - begin)
        latencies.sort()

        async def some(count: int) -> None:
            for _ in range(count):
                assert await node.call_raw(token, data) == expected

        begin = time.perf_counter()
        await asyncio.gather(*(some(calls // IN_FLIGHT) for _ in range(IN_FLIGHT)))
        pipelined = calls // IN_FLIGHT * IN_FLIGHT / (time.perf_counter() - begin)
    return [
        ("balanceOf over QUIC, one at a time", "calls/s", alone),
        ("balanceOf over QUIC, p50", "ms", latencies[calls // 2] * 1e3),
        ("balanceOf over QUIC, p99", "ms", latencies[calls * 99 // 100] * 1e3),
        (f"balanceOf over QUIC, {IN_FLIGHT} in flight", "calls/s", pipelined),
    ]
