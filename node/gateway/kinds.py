"""What ``eth_subscribe`` can subscribe to: for each kind, pages of what is sent.

``newHeads``, ``logs`` and ``transactionReceipts`` come from the chain itself and can be resumed, as over QUIC: with the
field ``cursor`` among the options each notification carries the position behind it, and a position given begins there.
Who does not ask for cursors gets what geth sends. Source: go-ethereum's eth/filters/api.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple, TypeVar

from chain.types import Hash32
from node.api.errors import InvalidParams, LimitExceeded
from node.api.types import LogPosition
from node.rpc.call_fields import addresses_of, topics_of
from node.rpc.format import data, header_object, log_object, transaction_object
from node.rpc.methods.eth_blocks import receipts_of
from node.rpc.methods.eth_logs import sealed_ref
from node.rpc.params import block_ref, boolean, hash32, json_list, json_object, quantity64, shown
from node.rpc.service import RpcService
from node.rpc.streams import head_stream, log_stream
from storage.blocks.logs import FoundLog

Item = TypeVar("Item")

FORMED_AT_ONCE = 16
"""Items of a page that are made into JSON on the event loop; longer pages are on a thread."""
NO_END = 2**64
"""Above every block's number."""
LAST_IN_BLOCK = 2**53 - 1
"""Index of a cursor behind a whole block: the largest number that JavaScript reads exactly."""
RECEIPT_HASHES_MAX = 200
"""Transactions of one subscription to their receipts; in geth as many."""


class Notification(NamedTuple):
    """One notification."""

    result: Any
    cursor: tuple[int, int] | None = None
    """Block and log index to resume behind, if the subscriber asked for cursors."""


Pages = AsyncIterator[list[Notification]]


def pages_of(service: RpcService, kind: str, options: Any) -> Pages:
    """What a subscription of this kind sends, without an end. Raises `InvalidParams`, `LimitExceeded`."""
    make = KINDS.get(kind)
    if make is None:
        raise InvalidParams(f"no subscription {shown(kind)}; there are {', '.join(KINDS)}")
    return make(service, options)


def _heads(service: RpcService, options: Any) -> Pages:
    begin, wants = _cursor_of(options)
    headers = head_stream(service.backend, service, begin)
    return _noted(service, headers, header_object, lambda header: (header.number, LAST_IN_BLOCK) if wants else None)


def _logs(service: RpcService, options: Any) -> Pages:
    given = json_object({} if options is None else options)
    addresses, topics = addresses_of(given.get("address")), topics_of(given.get("topics") or [])
    first, last = _bound(given.get("fromBlock"), 0), _bound(given.get("toBlock"), NO_END)
    if first > last:
        raise InvalidParams(f"fromBlock {first} is above toBlock {last}")
    begin, wants = _cursor_of(given)
    logs = log_stream(service.backend, service, addresses, topics, begin)
    within = _only(logs, lambda entry: first <= entry.block_number <= last)
    return _noted(service, within, log_object, lambda entry: (entry.block_number, entry.log_index) if wants else None)


def _receipts(service: RpcService, options: Any) -> Pages:
    """Receipts of the blocks to come, as one list for each block; only those of ``transactionHashes`` if it has any."""
    given = json_object({} if options is None else options)
    hashes = given.get("transactionHashes")
    wanted = frozenset(hash32(item) for item in json_list([] if hashes is None else hashes))
    if len(wanted) > RECEIPT_HASHES_MAX:
        raise LimitExceeded(f"a subscription has at most {RECEIPT_HASHES_MAX} transaction hashes, got {len(wanted)}")
    begin, wants = _cursor_of(given)
    return _receipt_pages(service, wanted, begin, wants)


async def _receipt_pages(
    service: RpcService, wanted: frozenset[Hash32], begin: LogPosition | None, wants: bool
) -> Pages:
    names = {data(item) for item in wanted}

    def read(number: int) -> list[Any]:
        found = receipts_of(service.context, number) or []  # none: the block was taken back meanwhile
        return [receipt for receipt in found if not names or receipt["transactionHash"] in names]

    async for headers in head_stream(service.backend, service, begin):
        for header in headers:
            if found := await service.readers.run(lambda number=header.number: read(number)):  # type: ignore[misc]
                yield [Notification(found, (header.number, LAST_IN_BLOCK) if wants else None)]


def _transactions(service: RpcService, options: Any) -> Pages:
    """Transactions that enter the pool: their hashes, or with ``true`` the whole transactions."""
    arrivals = service.backend.arrivals()
    if options is not None and boolean(options):
        return _noted(service, arrivals, lambda item: transaction_object(item.transaction, item.sender))
    return _noted(service, arrivals, lambda item: data(item.transaction.hash))


def _syncing(_: RpcService, __: Any) -> Pages:
    return _nothing()


KINDS: dict[str, Callable[[RpcService, Any], Pages]] = {
    "newHeads": _heads,
    "logs": _logs,
    "newPendingTransactions": _transactions,
    "syncing": _syncing,
    "transactionReceipts": _receipts,
}


async def plain(pages: AsyncIterator[list[Any]]) -> Pages:
    """Pages whose items are sent as they are."""
    async with aclosing(pages):  # type: ignore[type-var]
        async for page in pages:
            yield [Notification(item) for item in page]


async def _nothing() -> Pages:
    """The subscription to ``syncing``: a chain of one node is never behind, so it never reports anything."""
    await asyncio.Event().wait()
    yield []


def _cursor_of(options: Any) -> tuple[LogPosition | None, bool]:
    """Where to begin, and whether cursors are wanted: ``{"cursor": null}`` begins with the next block, with cursors."""
    if not isinstance(options, dict) or "cursor" not in options:
        return None, False
    given = options["cursor"]
    if given is None:
        return None, True
    if not isinstance(given, list) or len(given) != 2:
        raise InvalidParams(f"a cursor is [block number, log index], got {shown(given)}")
    return LogPosition(*map(_natural, given)), True


def _natural(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < NO_END:
        return value
    return quantity64(value)


def _bound(value: Any, default: int) -> int:
    """One end of a subscription's range of blocks. As in geth, only new logs are sent, and only of these blocks."""
    number = None if value is None else sealed_ref(block_ref(value)).number
    return default if number is None else number


async def _only(
    pages: AsyncIterator[list[FoundLog]], fits: Callable[[FoundLog], bool]
) -> AsyncIterator[list[FoundLog]]:
    async for page in pages:
        yield [entry for entry in page if fits(entry)]


async def _noted(
    service: RpcService,
    pages: AsyncIterator[Sequence[Item]],
    form: Callable[[Item], Any],
    cursor: Callable[[Item], tuple[int, int] | None] = lambda _: None,
) -> Pages:
    """Notifications of the items, those of a long page formed on a reader thread."""

    def formed(page: Sequence[Item]) -> list[Notification]:
        return [Notification(form(item), cursor(item)) for item in page]

    async for page in pages:
        yield formed(page) if len(page) <= FORMED_AT_ONCE else await service.readers.run(partial(formed, page))
