"""Logs and polling filters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chain.transactions import Transaction
from node.api.errors import InvalidParams, LimitExceeded
from node.rpc.call_fields import addresses_of, topics_of
from node.rpc.context import Context
from node.rpc.errors import UnknownFilter
from node.rpc.filters import Filter, FilterKind, owner_of
from node.rpc.format import Json, data, log_object, quantity
from node.rpc.params import LATEST, BlockRef, FilterId, JsonObject, block_ref, hash32
from node.rpc.registry import method
from storage.blocks.logs import FoundLog, LogQuery
from vm.interruption import spend

PART_LOGS = 1_000
PART_BLOCKS = 100_000
FILTER_BLOCKS_MAX = 10_000
"""Most blocks, counted back from the head, that a poll of a block or transaction filter covers."""
LOG_BYTES = 500
"""Bytes of a log in an answer besides its data."""


def log_filter(context: Context, given: JsonObject) -> LogQuery:
    """A filter object with its blocks resolved, which may be in the future; unknown fields are ignored as in geth."""
    addresses, topics = addresses_of(given.get("address")), topics_of(given.get("topics") or [])
    if given.get("blockHash") is not None:
        if given.get("fromBlock") is not None or given.get("toBlock") is not None:
            raise InvalidParams("blockHash excludes fromBlock and toBlock")
        number = context.need_sealed(BlockRef(hash=hash32(given["blockHash"])))
        return LogQuery(number, number, addresses, topics)
    head = context.backend.head().number
    start = _ref(given.get("fromBlock"))
    first, last = _bound(context, sealed_ref(start)), _bound(context, _ref(given.get("toBlock")))
    if first is not None and last is not None and first > last:
        raise InvalidParams(f"invalid block range params: fromBlock {first} is above toBlock {last}")
    return LogQuery(head if first is None else first, head if last is None else last, addresses, topics)


def sealed_ref(ref: BlockRef) -> BlockRef:
    """The block that a range of logs begins with.

    Raises `InvalidParams` for ``pending``, as geth does: only sealed blocks have logs. A range may end with
    ``pending``, which is the newest sealed block then.
    """
    if ref.tag == "pending":
        raise InvalidParams("pending logs are not supported; a range of logs begins with a sealed block")
    return ref


def _ref(value: Any) -> BlockRef:
    return LATEST if value is None else block_ref(value)


def _bound(context: Context, ref: BlockRef) -> int | None:
    """The block at one end of a range; None for one that follows the head."""
    if ref.number is not None:
        return ref.number
    return context.need_sealed(ref) if ref.hash is not None or ref.tag == "earliest" else None


def check_span(context: Context, query: LogQuery) -> None:
    """Refuse a range of blocks above the limit. Raises `LimitExceeded`."""
    span = query.to_block - query.from_block + 1
    if span > context.limits.log_blocks_max and not query.addresses and not query.topics:
        raise LimitExceeded(
            f"logs of {span} blocks; the limit without address or topic is {context.limits.log_blocks_max}"
        )


def find_logs(context: Context, query: LogQuery) -> list[FoundLog]:
    """All logs of a filter. Raises `LimitExceeded` with the block to continue from."""
    if query.from_block > query.to_block:
        return []
    check_span(context, query)
    limit = context.limits.log_results_max
    entries: list[FoundLog] = []
    first = query.from_block
    while first <= query.to_block:
        # In parts, so that it can be stopped, and stops by itself when the answer gets too large.
        last = min(query.to_block, first + PART_BLOCKS - 1)
        part = replace(query, from_block=first, to_block=last, limit=min(PART_LOGS, limit + 1 - len(entries)))
        found = context.backend.logs(part)
        spend(sum(LOG_BYTES + 2 * len(entry.log.data) for entry in found))
        entries += found
        if len(entries) > limit:
            last = entries[limit - 1].block_number
            raise LimitExceeded(
                f"more than {limit} logs; blocks up to {max(last - 1, query.from_block)} fit in one answer"
            )
        if len(found) < part.limit:
            first, query = last + 1, replace(query, after=None)
        else:
            first = found[-1].block_number
            query = replace(query, after=(first, found[-1].log_index))
    return entries


@method("eth_getLogs")
def get_logs(context: Context, filter_: JsonObject) -> list[Json]:
    """Logs of a range of blocks. Raises `InvalidParams` for one that ends above the newest block."""
    query = log_filter(context, filter_)
    head = context.backend.head().number
    if max(query.from_block, query.to_block) > head:
        raise InvalidParams(f"block range extends beyond current head block; the newest is {head}")
    return [log_object(entry) for entry in find_logs(context, query)]


@method("eth_newFilter")
def new_filter(context: Context, filter_: JsonObject) -> str:
    """Install a log filter to be polled; blocks before the head count only for ``eth_getFilterLogs``."""
    query = log_filter(context, filter_)
    open_ended = filter_.get("blockHash") is None and _bound(context, _ref(filter_.get("toBlock"))) is None
    # What is in the chain already is not a change, unless the filter begins there explicitly.
    first = query.from_block if filter_.get("fromBlock") is not None else None
    return _install(context, "logs", first, query, None if open_ended else query.to_block)


@method("eth_newBlockFilter")
def new_block_filter(context: Context) -> str:
    """Install a filter that reports hashes of new blocks."""
    return _install(context, "blocks")


@method("eth_newPendingTransactionFilter")
def new_pending_transaction_filter(context: Context) -> str:
    """Install a filter that reports hashes of transactions, waiting or mined since."""
    return _install(context, "pending")


def _install(
    context: Context,
    kind: FilterKind,
    first: int | None = None,
    query: LogQuery | None = None,
    to_block: int | None = None,
) -> str:
    """Install a filter whose changes begin at block ``first``, by default at the one after the head."""
    rewinds = context.backend.rewinds().count  # before the head: the first poll goes back for a rewind in between
    next_block = context.backend.head().number + 1 if first is None else first
    new = Filter(kind, next_block, owner_of(context.caller), query, to_block, rewinds=rewinds)
    return quantity(context.filters.add(new, context.clock()))


@method("eth_uninstallFilter", inline=True)
def uninstall_filter(context: Context, filter_identifier: FilterId) -> bool:
    """Remove a filter; returns whether it existed."""
    return context.filters.remove(filter_identifier)


@method("eth_getFilterChanges")
def get_filter_changes(context: Context, filter_identifier: FilterId) -> list[Any]:
    """What is new since the last poll."""
    found = context.filters.get(filter_identifier, context.clock())
    with found.lock:
        rewinds, target = context.backend.rewinds().since(found.rewinds)
        head = context.backend.head().number
        first = found.next_block if target is None else min(found.next_block, target + 1)
        changes: list[Any]
        if found.kind == "logs":
            assert found.query is not None
            last = head if found.to_block is None else min(head, found.to_block)
            query = replace(found.query, from_block=first, to_block=last)
            changes = [log_object(entry) for entry in find_logs(context, query)]
        else:
            # A poller that was away for long gets the newest blocks within the limit.
            first = max(first, head - FILTER_BLOCKS_MAX)
            changes = _hashes(context, found, first, head)
        # Only now: the poll may have been refused, or stopped and begun again.
        found.polled(max(first, head + 1), rewinds)
    return changes


@method("eth_getFilterLogs")
def get_filter_logs(context: Context, filter_identifier: FilterId) -> list[Json]:
    """All logs of an installed log filter."""
    found = context.filters.get(filter_identifier, context.clock())
    if found.query is None:
        raise UnknownFilter(f"filter {filter_identifier:#x} is not a log filter")
    head = context.backend.head().number
    last = head if found.to_block is None else min(found.to_block, head)
    return [log_object(entry) for entry in find_logs(context, replace(found.query, to_block=last))]


def _hashes(context: Context, found: Filter, first: int, head: int) -> list[str]:
    if found.kind == "blocks":
        headers = (context.backend.header(number) for number in range(first, head + 1))
        return [data(header.hash) for header in headers if header is not None]
    mined: list[Transaction] = []
    for number in range(first, head + 1):
        block = context.backend.block(number)
        mined.extend(block.transactions if block is not None else ())
    waiting = [item.transaction.hash for item in context.backend.pending_transactions()]
    return [data(digest) for digest in found.unreported([tx.hash for tx in mined], waiting)]
