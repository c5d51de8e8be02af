"""Traces of mined transactions and of calls: ``debug_trace*`` with geth's tracers, ``trace_*`` in Parity's form."""

from __future__ import annotations

from typing import Any

from chain.types import Hash32
from node.api.pending_block import BlockAt
from node.api.types import CallFields
from node.rpc.call_fields import account_overrides, block_overrides, overrides_of
from node.rpc.context import Context
from node.rpc.errors import UnknownTransaction, Untraceable
from node.rpc.format import data
from node.rpc.methods.eth_state import limit_gas
from node.rpc.params import LATEST, BlockRef, JsonObject, quantity
from node.rpc.registry import method
from node.tracers.flat_calls import ParityTracer
from node.tracers.options import option
from node.tracers.registry import tracer_of


@method("debug_traceTransaction")
def trace_transaction(context: Context, transaction_hash: Hash32, options: JsonObject | None = None) -> Any:
    """A mined transaction run again, as the tracer in the options tells it."""
    make = tracer_of(options or {})
    place = context.backend.transaction_location(transaction_hash)
    if place is None:
        raise UnknownTransaction(f"no mined transaction 0x{transaction_hash.hex()}")
    return context.backend.trace_block(place.block_number, make, place.transaction_index)[0]


@method("debug_traceBlockByNumber")
def trace_block_by_number(context: Context, block: BlockRef, options: JsonObject | None = None) -> list[Any]:
    """Every transaction of a block."""
    at = context.need_block(block)
    make = tracer_of(options or {})
    if at == 0:
        raise Untraceable("genesis is not traceable: it has no transactions")
    traces = context.backend.trace_block(at, make)
    found = context.backend.block(at) if isinstance(at, int) else at.block
    transactions = found.transactions if found is not None else ()
    return [
        {"txHash": data(transaction.hash), "result": trace}
        for transaction, trace in zip(transactions, traces, strict=True)
    ]


@method("debug_traceBlockByHash")
def trace_block_by_hash(context: Context, block_hash: Hash32, options: JsonObject | None = None) -> list[Any]:
    """Every transaction of a block."""
    return trace_block_by_number(context, BlockRef(hash=block_hash), options)


@method("debug_traceCall")
def trace_call(
    context: Context, transaction: CallFields, block: BlockRef = LATEST, options: JsonObject | None = None
) -> Any:
    """A call by the rules of ``eth_call``; the options may hold its overrides.

    With ``txIndex`` it runs before that transaction of the block, otherwise after the block.
    """
    given = options or JsonObject({})
    make = tracer_of(given)
    accounts, changes = option(given, "stateOverrides"), option(given, "blockOverrides")
    place = option(given, "txIndex")
    index = None if place is None else quantity(place, 64)
    overrides = overrides_of(
        None if accounts is None else account_overrides(accounts),
        None if changes is None else block_overrides(changes),
    )
    limit_gas(context, transaction)
    return context.backend.trace_call(transaction, context.need_block(block), overrides, make, index)


def _flat_traces(context: Context, at: BlockAt, index: int | None = None) -> list[JsonObject]:
    """Parity's traces of a block's transactions, each with its place."""
    traces = context.backend.trace_block(at, ParityTracer, index)
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
