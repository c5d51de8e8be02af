"""Requests that are each worth a line of the log: what the log costs, and whether the node waits for it."""

from __future__ import annotations

import asyncio
import time

from benchmarks.attacks.attack import Attack, Target

SECONDS = 8.0
AT_ONCE = 8


async def garbage(target: Target) -> str:
    """Send bytes that are not HTTP from eight connections at a time."""
    log = target.data_dir.with_name(f"{target.data_dir.name}.log")
    before, requests, end = log.stat().st_size, 0, time.perf_counter() + SECONDS

    async def one_after_the_other() -> None:
        nonlocal requests
        while time.perf_counter() < end:
            reader, writer = await asyncio.open_connection(target.host, target.http_port)
            writer.write(b"garbage\r\n\r\n")
            await reader.read(1000)
            writer.close()
            requests += 1
            await asyncio.sleep(0.005)

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    counted = (await target.rpc("zvmd_status"))["logging"]
    grown = log.stat().st_size - before
    return f"{requests:,} requests; {grown:,} bytes of log, {counted['suppressed']:,} lines left out"


ATTACKS: tuple[Attack, ...] = (Attack("11", "garbage requests, each worth a warning", garbage, 60),)
