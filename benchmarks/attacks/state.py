"""Attacks on what a node keeps for its clients: sessions of others, filters, snapshots, templates, names of methods."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

import zvmd
from benchmarks.attacks.attack import Attack, RpcError, Target, post
from zvmd.errors import ZvmdError

X = "0x" + "58" * 20
MARK = "deadbeefcafe"
FLOOD_SECONDS = 8.0
BATCH = 100


async def other_sessions(target: Target) -> str:
    """Hello with a token of one session; every other session by its number, in every place a method takes one."""
    sessions = [
        (await target.rpc("zvmd_session_create", {"code": code, "gas": 100_000}))["id"]
        for code in ("0x00", "0x65" + MARK + "5f5200")
    ]
    token = (await target.rpc("zvmd_session_share", sessions[0]))["token"]
    asked = read = 0
    try:
        async with zvmd.connect(
            f"quic://{target.host}:{target.quic_port}", data_dir=target.data_dir, token=token
        ) as guest:
            for session in range(1, 200):
                for method, params in (
                    ("state_diff", [token, None, None, session]),
                    ("stateDiff", [token, None, None, hex(session)]),
                    ("compare", [token, session]),
                    ("diff", [session, token]),
                    ("state", [session]),
                ):
                    asked += 1
                    await asyncio.sleep(0.005)
                    with suppress(ZvmdError):
                        read += MARK in repr(await guest.rpc("zvmd_session_" + method, *params))
    finally:
        for session in sessions:
            await target.rpc("zvmd_session_close", session)
    return f"{asked} requests with a share token, {read} of them answered with another session"


async def unsettled_lists(target: Target) -> str:
    """``SLOAD(GAS)`` in a loop: each longer list has the code use other slots."""
    answers: list[str] = []
    for gas in (100_000, 200_000, 400_000, 30_000_000):
        overrides = {X: {"code": "0x5a54505b600356"}}
        begun = time.monotonic()
        try:
            await target.rpc("eth_createAccessList", {"to": X, "gas": hex(gas)}, "latest", overrides)
            answer = "a list"
        except RpcError as error:
            answer = error.args[0]["message"]
        except TimeoutError:
            answer = "no answer"
        answers.append(f"{answer} after {time.monotonic() - begun:.1f} s")
    return f"4 calls of 1e5 to 3e7 gas: {', '.join(answers)}"


async def key_bombs(target: Target) -> str:
    """Dotted keys of up to 500,000 parts; the parser would take the square of that."""
    texts = [".".join("a" * parts) + " = 1" for parts in (5_000, 20_000, 100_000, 500_000)]
    texts += ["[" + ".".join("a" * 20_000) + "]", 'x = """a""""\n' + ".".join("a" * 20_000) + ' = "b"']
    refused = 0
    for text in texts:
        with suppress(TimeoutError):
            try:
                await target.rpc("zvmd_session_template_save", {"toml": text})
            except RpcError:
                refused += 1
    return f"{len(texts)} texts of 10 KB to 1 MB, {refused} refused"


def flood(request: Callable[[int], tuple[str, list[Any]]], size: int = BATCH) -> Callable[[Target], Awaitable[str]]:
    """Batches of one request after the other over one connection for some seconds."""

    async def run(target: Target) -> str:
        reader, writer = await asyncio.open_connection(target.host, target.http_port)
        sent, end = 0, time.monotonic() + FLOOD_SECONDS
        try:
            while time.monotonic() < end:
                calls = [request(sent + at) for at in range(size)]
                body = [{"jsonrpc": "2.0", "id": 1, "method": name, "params": params} for name, params in calls]
                await post(reader, writer, msgspec.json.encode(body if size > 1 else body[0]))
                sent += size
        finally:
            writer.close()
        return f"{sent:,} in {FLOOD_SECONDS:.0f} s"

    return run


async def filters(target: Target) -> str:
    """400 filters that nobody polls; one that a healthy client polls must stay."""
    healthy = await target.rpc("eth_newBlockFilter")
    await target.rpc("eth_getFilterChanges", healthy)
    mine = [await target.rpc("eth_newFilter", {}) for _ in range(400)]
    try:
        await target.rpc("eth_getFilterChanges", healthy)
        kept = "kept"
    except RpcError:
        kept = "lost"
    for key in [*mine, healthy]:
        await target.rpc("eth_uninstallFilter", key)
    return f"400 filters; the one in use was {kept}"


ATTACKS: tuple[Attack, ...] = (
    Attack("1b", "a share token asks for other sessions", other_sessions, seconds=60),
    Attack("13", "access lists that never settle", unsettled_lists, seconds=130),
    Attack("14", "templates with long dotted keys", key_bombs, seconds=60),
    Attack("26", "400 filters", filters, seconds=60),
    Attack("28", "unknown methods, one by one", flood(lambda at: (f"eth_unknownMethod{at:x}", []), 1)),
    Attack("28", "unknown methods in batches", flood(lambda at: (f"zvmd_session_stepp{at:x}", []))),
    Attack("29", "snapshots", flood(lambda _: ("evm_snapshot", []))),
)
