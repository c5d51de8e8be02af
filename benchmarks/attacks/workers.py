"""What a node needs from the system is taken away for a while: does all of it work again afterwards?"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.attacks.attack import Attack, Target

DESCRIPTORS = 200
CONNECTIONS = 240
HOLD_SECONDS = 5.0
LOOPS = "5f5b60010180617530116001575f5260205ff3"
"""Counts to 30,000: worth compiling after some calls."""


async def run_often(target: Target, number: int) -> None:
    """Have a contract of its own become hot."""
    account = f"0x{number:040x}"
    code = {"code": f"0x{LOOPS}{number:04x}"}
    for _ in range(90):
        await target.rpc("eth_call", {"to": account, "gas": "0x4c4b40"}, "latest", {account: code})


async def compiled(target: Target) -> tuple[int, Any]:
    """Contracts compiled so far, and restarts by name."""
    status = await target.rpc("zvmd_status")
    return int(status["vm"]["compiled"]), status["restarts"]


async def descriptors(target: Target) -> str:
    """Hold all file descriptors while a contract is to be compiled."""
    hard = resource.prlimit(target.pid, resource.RLIMIT_NOFILE)[1]
    before = resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    held: list[socket.socket] = []
    try:
        working = asyncio.create_task(run_often(target, 0xABC1))
        for _ in range(CONNECTIONS):
            with suppress(OSError):
                held.append(socket.create_connection((target.host, target.http_port), timeout=1))
        await asyncio.sleep(HOLD_SECONDS)
    finally:
        for connection in held:
            connection.close()
        resource.prlimit(target.pid, resource.RLIMIT_NOFILE, before)
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        await working
    return await again(target, f"{len(held)} connections, {DESCRIPTORS} descriptors", 0xABC2)


async def kills(target: Target) -> str:
    """Kill the node's child processes again and again while a contract is to be compiled."""
    working = asyncio.create_task(run_often(target, 0xABC3))
    killed = 0
    while not working.done():
        for task in Path(f"/proc/{target.pid}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    os.kill(int(child), signal.SIGKILL)
                    killed += 1
        await asyncio.sleep(0.05)
    return await again(target, f"{killed} processes killed", 0xABC4)


async def again(target: Target, did: str, number: int) -> str:
    """Whether another contract is compiled now."""
    before, _ = await compiled(target)
    await run_often(target, number)
    for _ in range(50):
        after, restarts = await compiled(target)
        if after > before:
            break
        await asyncio.sleep(0.2)
    return f"{did}; afterwards {after - before} compiled, restarts {restarts}"


ATTACKS: tuple[Attack, ...] = (
    Attack("18", "no file descriptors while compiling", descriptors, 90),
    Attack("18", "child processes killed while compiling", kills, 90),
)
