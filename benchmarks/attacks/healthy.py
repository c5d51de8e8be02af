"""A client that does nothing wrong: how much of what it asks is answered, and how fast, while others attack.

It is a process of its own, so that it does not wait for the attackers: `beside` starts it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.attacks.attack import Target, post

GIVE_UP_SECONDS = 5.0
CONTRACT = "0x00000000000000000000000000000000000000ff"
ANSWER = "0x" + "00" * 31 + "2a"
OVERRIDE = {CONTRACT: {"code": "0x602a60005260206000f3"}}
class Call(NamedTuple):
    """What a client asks again and again."""

    method: str
    params: list[Any]
    every_s: float = 0.05
    is_fresh: bool = False
    """Whether each call is on a connection of its own: what shows whether others are kept out."""


CALLS = {
    "number": Call("eth_blockNumber", []),
    "call": Call("eth_call", [{"to": CONTRACT, "gas": "0x186a0"}, "latest", OVERRIDE]),
    "connection": Call("eth_blockNumber", [], 0.25, True),
}


@dataclass(slots=True)
class Seen:
    """What one kind of call met."""

    due: int = 0
    """Calls that a client which never waits would have sent: a slow answer counts against the node."""
    milliseconds: list[float] = field(default_factory=list)
    failures: int = 0

    def quantile(self, share: float) -> float:
        """Milliseconds that this share of the answers did not exceed; not a number without answers."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    @property
    def answered(self) -> float:
        """Of the calls due, in percent."""
        return 100 * len(self.milliseconds) / self.due if self.due else 100.0


async def watch(target: Target, name: str, stopped: asyncio.Event) -> Seen:
    """Make one of `CALLS` as often as it says, one at a time, until ``stopped``."""
    call = CALLS[name]
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": call.method, "params": call.params})
    seen, begun = Seen(), time.monotonic()
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    while not stopped.is_set():
        start = time.monotonic()
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                connection = connection or await target.connect()
                answer = await post(*connection, body)
            result = msgspec.json.decode(answer.body).get("result") if answer.status == 200 else None
            right = result == ANSWER if name == "call" else isinstance(result, str)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            right = False
        if right:
            seen.milliseconds.append((time.monotonic() - start) * 1000)
        else:
            seen.failures += 1
        if connection is not None and (call.is_fresh or not right):
            connection[1].close()
            connection = None
        await asyncio.sleep(max(0.0, call.every_s - (time.monotonic() - start)))
    if connection is not None:
        connection[1].close()
    seen.due = max(1, int((time.monotonic() - begun) / call.every_s) - 1)
    return seen


def tls_of(data_dir: Path) -> ssl.SSLContext:
    """What a client of a node trusts and shows, by what lies in its data directory."""
    context = ssl.create_default_context(cafile=data_dir / "tls" / "authority.pem")
    if (own := data_dir / "tls" / "client.pem").exists():
        context.load_cert_chain(own)
    return context


@asynccontextmanager
async def beside(target: Target, nice: int) -> AsyncIterator[dict[str, Seen]]:
    """The healthy clients, as long as the block lasts; what they have seen is there at its end.

    ``nice`` is their priority, that of the node.
    """
    arguments = (target.host, str(target.http_port), str(target.data_dir), str(bool(target.tls)), str(nice))
    pipe = asyncio.subprocess.PIPE
    apart = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.attacks.healthy", *arguments), stdin=pipe, stdout=pipe
    )
    assert apart.stdout is not None
    assert apart.stdin is not None
    await apart.stdout.readline()
    seen: dict[str, Seen] = {}
    try:
        yield seen
    finally:
        apart.stdin.close()
        seen |= msgspec.json.decode(await apart.stdout.read(), type=dict[str, Seen])
        await apart.wait()


async def ask_until_told() -> dict[str, Seen]:
    """Ask until standard input ends."""
    host, port, folder, secure, nice = sys.argv[1:]
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, int(nice))
    tls = tls_of(Path(folder)) if secure == "True" else None
    target, stopped = Target(host, int(port), 0, Path(folder), 0, tls), asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stopped.set)
    print(flush=True)
    seen = await asyncio.gather(*(watch(target, name, stopped) for name in CALLS))
    return dict(zip(CALLS, seen, strict=True))


if __name__ == "__main__":
    print(msgspec.json.encode(asyncio.run(ask_until_told())).decode())
