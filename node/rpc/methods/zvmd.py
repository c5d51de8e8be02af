"""``zvmd_``: status, acknowledgement levels, idempotency keys, and reads at a minimum LSN."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

from chain.types import Hash32
from node.api.errors import InvalidParams, LimitExceeded
from node.api.types import Wait
from node.rpc.context import Context
from node.rpc.errors import NotThereYet
from node.rpc.format import data, quantity
from node.rpc.params import JsonObject, LooseInt
from node.rpc.registry import Scope, find_method
from node.rpc.registry import method as rpc_method
from node.rpc.work import current_work
from storage.idempotency import KEY_CHARACTERS_MAX

LEVELS: tuple[Wait, ...] = get_args(Wait)
MIN_LSN_WAIT_SECONDS = 2.0


@rpc_method("zvmd_status", scope=Scope.READ)
def status(context: Context) -> dict[str, Any]:
    """Positions of the log, checkpoint and index, counters and jobs."""
    return context.backend.status() | {name: part() for name, part in context.status_parts.items()}


@rpc_method("zvmd_sendRawTransaction", overlaps=True, scope=Scope.SEND)
async def send_raw_transaction(context: Context, transaction: bytes, level: str = "mined") -> JsonObject:
    """Send a transaction; the answer comes at a level: accepted, durable, mined or indexed. Idempotent."""
    wanted = next((known for known in LEVELS if known == level), None)
    if wanted is None:
        raise InvalidParams(f"level {level!r} is not one of {', '.join(LEVELS)}")
    sent = await context.backend.submit(transaction, wanted, batch=current_work.get())
    return JsonObject({"hash": data(sent.hash), "lsn": sent.lsn, "blockNumber": sent.block_number, "level": level})


@rpc_method("zvmd_transactionFate", scope=Scope.READ)
def transaction_fate(context: Context, transaction_hash: Hash32) -> JsonObject:
    """The fate of a transaction: mined, waiting, replaced, dropped, reverted or unknown, and why."""
    fate = context.backend.fate(transaction_hash)
    return JsonObject({
        "hash": data(transaction_hash),
        "status": fate.status,
        "reason": fate.reason or None,
        "blockNumber": None if fate.block_number is None else quantity(fate.block_number),
        "replacedBy": None if fate.replaced_by is None else data(fate.replaced_by),
    })


@rpc_method("zvmd_mine", development=True)
async def mine(context: Context, count: LooseInt | None = None, key: str = "") -> JsonObject:
    """Seal blocks. With a key, the same request again, even after a crash, gets the same answer and seals nothing."""
    count = LooseInt(1) if count is None else count
    if count > context.limits.mine_blocks_max:
        raise LimitExceeded(f"{count} blocks at once; the limit is {context.limits.mine_blocks_max}")
    number = await context.backend.mine(count, 0, idempotency_key(key))
    return JsonObject({"blockNumber": number, "lsn": context.backend.published_lsn()})


@rpc_method("zvmd_setAutomine", development=True)
async def set_automine(context: Context, enabled: bool, key: str = "") -> JsonObject:
    """Whether each transaction is sealed at once; a key as in zvmd_mine."""
    await context.backend.set_automine(enabled, idempotency_key(key))
    return JsonObject({"lsn": context.backend.published_lsn()})


@rpc_method("zvmd_setIntervalMining", development=True)
async def set_interval_mining(context: Context, milliseconds: LooseInt, key: str = "") -> JsonObject:
    """Seal every so many milliseconds, 0 stops; a key as in zvmd_mine."""
    await context.backend.set_interval_mining(milliseconds / 1000, idempotency_key(key))
    return JsonObject({"lsn": context.backend.published_lsn()})


@rpc_method("zvmd_read", overlaps=True, scope=Scope.READ)
async def read(context: Context, min_lsn: LooseInt, method: str, params: object = None) -> JsonObject:
    """Answer of a read method that sees at least everything up to an LSN: read your writes, on any connection."""
    context.rights.check(method)
    found = find_method(method)
    if found.is_coroutine:
        raise InvalidParams(f"{method} is not a read")
    if params is not None and not isinstance(params, list | dict):
        raise InvalidParams("params are a list or an object")
    arguments = found.arguments(params or [])
    try:
        async with asyncio.timeout(MIN_LSN_WAIT_SECONDS):
            await context.backend.wait_for_lsn(min_lsn)
    except TimeoutError:
        raise NotThereYet(f"LSN {min_lsn} is not visible, {context.backend.published_lsn()} is") from None
    lsn = context.backend.published_lsn()
    return JsonObject({"lsn": lsn, "result": await context.read(lambda: found.handler(context, *arguments))})


def idempotency_key(key: str) -> str:
    """A key of bounded length. Raises `InvalidParams`."""
    if len(key) > KEY_CHARACTERS_MAX:
        raise InvalidParams(f"a key of {len(key)} characters; at most {KEY_CHARACTERS_MAX}")
    return key
