"""Traces of mined transactions and of calls: ``debug_trace*`` with geth's tracers, ``trace_*`` in Parity's form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chain.types import Hash32
from node.api.pending_block import BlockAt
from node.api.types import CallFields
from node.rpc.call_fields import account_overrides, block_overrides, overrides_of
from node.rpc.context import Context
from node.rpc.errors import UnknownTransaction, Untraceable
from node.rpc.format import data
from node.rpc.format_traces import encoded_size, parity_calls
from node.rpc.methods.eth_state import with_limited_gas
from node.rpc.params import LATEST, BlockRef, JsonObject, quantity
from node.rpc.registry import Access, method
from node.rpc.tracer_options import WantedTracer, option, tracer_of
from node.tracers.flat_calls import ParityTracer
from vm.interruption import spend

PARITY = WantedTracer(ParityTracer, parity_calls)


@method("debug_traceTransaction", access=Access.STANDARD)
def trace_transaction(context: Context, transaction_hash: Hash32, options: JsonObject | None = None) -> Any:
    """Trace of a mined transaction by the tracer in the options; the transaction is executed again."""
    wanted = tracer_of(options or {})
    place = context.backend.transaction_location(transaction_hash)
    if place is None:
        raise UnknownTransaction(f"no mined transaction 0x{transaction_hash.hex()}")
    (trace,) = _traces(context, place.block_number, wanted, place.transaction_index)
    return trace


def _traces(context: Context, at: BlockAt, wanted: WantedTracer, index: int | None = None) -> Iterator[Any]:
    """Traces of a block's transactions in JSON; each counts towards the answer's limit before the next one runs."""
    wanted.begin()
    for result in context.backend.trace_block(at, wanted.make, index):
        shown = wanted.shown(result)
        spend(encoded_size(shown))
        yield shown
        wanted.begin()


@method("debug_traceBlockByNumber", access=Access.STANDARD)
def trace_block_by_number(context: Context, block: BlockRef, options: JsonObject | None = None) -> list[Any]:
    """Every transaction of a block."""
    at = context.need_block(block)
    wanted = tracer_of(options or {})
    if at == 0:
        raise Untraceable("genesis is not traceable: it has no transactions")
    traces = _traces(context, at, wanted)
    found = context.backend.block(at) if isinstance(at, int) else at.block
    transactions = found.transactions if found is not None else ()
    return [
        {"txHash": data(transaction.hash), "result": trace}
        for transaction, trace in zip(transactions, traces, strict=True)
    ]


@method("debug_traceBlockByHash", access=Access.STANDARD)
def trace_block_by_hash(context: Context, block_hash: Hash32, options: JsonObject | None = None) -> list[Any]:
    """Every transaction of a block."""
    return trace_block_by_number(context, BlockRef(hash=block_hash), options)


@method("debug_traceCall", access=Access.STANDARD)
def trace_call(
    context: Context, transaction: CallFields, block: BlockRef = LATEST, options: JsonObject | None = None
) -> Any:
    """Trace of a call as in ``eth_call``; the options may contain its overrides.

    With ``txIndex`` it runs before that transaction of the block, otherwise after the block.
    """
    given = options or JsonObject({})
    wanted = tracer_of(given)
    accounts, changes = option(given, "stateOverrides"), option(given, "blockOverrides")
    place = option(given, "txIndex")
    index = None if place is None else quantity(place, 64)
    overrides = overrides_of(
        None if accounts is None else account_overrides(accounts),
        None if changes is None else block_overrides(changes),
    )
    transaction = with_limited_gas(context, transaction)
    at = context.need_block(block)
    wanted.begin()
    return wanted.shown(context.backend.trace_call(transaction, at, overrides, wanted.make, index))


def _flat_traces(context: Context, at: BlockAt, index: int | None = None) -> list[JsonObject]:
    """Parity's traces of a block's transactions, each with its place."""
    traces = _traces(context, at, PARITY, index)
    return [JsonObject(entry) for entries in traces for entry in entries]


@method("trace_transaction")
def parity_transaction(context: Context, transaction_hash: Hash32) -> list[JsonObject] | None:
    """Calls of a mined transaction, flat; null if there is none."""
    place = context.backend.transaction_location(transaction_hash)
    return None if place is None else _flat_traces(context, place.block_number, place.transaction_index)


@method("trace_block")
def parity_block(context: Context, block: BlockRef) -> list[JsonObject]:
    """Calls of all transactions of a block, flat."""
    return _flat_traces(context, context.need_block(block))
