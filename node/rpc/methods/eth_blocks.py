"""Blocks, their transactions and receipts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from chain.blocks import Block, Header, encode_block, encode_header
from chain.brief import before_long_work
from chain.receipts import Receipt, encode_receipt
from chain.transactions import Transaction, encode_transaction
from chain.types import Address, Hash32
from node.api.pending_block import BlockAt
from node.rpc.context import Context
from node.rpc.format import (
    Json,
    block_object,
    data,
    header_object,
    quantity,
    receipt_object,
    transaction_object,
)
from node.rpc.params import BlockRef
from node.rpc.registry import method

BRIEF_RECEIPTS_MAX = 32
BRIEF_LOGS_MAX = 128
"""Receipts and logs of a block from which one receipt is made in less than a millisecond."""


class _Whole(NamedTuple):
    """A block with its receipts, senders and log counts."""

    block: Block
    senders: Sequence[Address]
    receipts: Sequence[Receipt]
    pending: bool

    @property
    def size(self) -> int:
        """Length of its RLP, bytes."""
        return len(encode_block(self.block))

    def transaction(self, index: int) -> Json | None:
        """A transaction by its place, None if there is none."""
        if index >= len(self.block.transactions):
            return None
        header = None if self.pending else self.block.header
        return transaction_object(self.block.transactions[index], self.senders[index], header, index)

    def receipt(self, index: int, first_log: int) -> Json:
        """A receipt, of which ``first_log`` logs are before it in the block."""
        tx, sender = self.block.transactions[index], self.senders[index]
        header = self.block.header
        return receipt_object(self.receipts[index], tx, sender, header, index, first_log, pending=self.pending)


def _whole(context: Context, at: BlockAt | None) -> _Whole | None:
    if at is None:
        return None
    if not isinstance(at, int):
        return _Whole(at.block, at.senders, at.receipts, pending=True)
    backend = context.backend
    block, senders, receipts = backend.block(at), backend.senders(at), backend.receipts(at)
    if block is None or senders is None or receipts is None:
        return None
    return _Whole(block, senders, receipts, pending=False)


def _transactions(context: Context, ref: BlockRef) -> Sequence[Transaction] | None:
    at = context.find_block(ref)
    if at is None:
        return None
    if not isinstance(at, int):
        return at.transactions
    block = context.backend.block(at)
    return None if block is None else block.transactions


def _uncles(context: Context, ref: BlockRef) -> Sequence[Header] | None:
    at = context.find_block(ref)
    if at is None:
        return None
    block = context.backend.block(at) if isinstance(at, int) else None
    return () if block is None else block.uncles


def _header(context: Context, at: BlockAt) -> Header | None:
    return context.backend.header(at) if isinstance(at, int) else at.header


def _block_json(context: Context, ref: BlockRef, hydrated: bool) -> Json | None:
    whole = _whole(context, context.find_block(ref))
    if whole is None:
        return None
    return block_object(whole.block, whole.size, whole.senders if hydrated else None, pending=whole.pending)


@method("eth_getBlockByNumber")
def get_block_by_number(context: Context, block: BlockRef, hydrated_transactions: bool = False) -> Json | None:
    """A block, null if there is none."""
    return _block_json(context, block, hydrated_transactions)


@method("eth_getBlockByHash")
def get_block_by_hash(context: Context, block_hash: Hash32, hydrated_transactions: bool = False) -> Json | None:
    """A block, null if there is none."""
    return _block_json(context, BlockRef(hash=block_hash), hydrated_transactions)


@method("eth_getHeaderByNumber")
def get_header_by_number(context: Context, block: BlockRef) -> Json | None:
    """A header, null if there is none."""
    at = context.find_block(block)
    header = None if at is None else _header(context, at)
    return None if header is None else header_object(header, pending=not isinstance(at, int))


@method("eth_getHeaderByHash")
def get_header_by_hash(context: Context, block_hash: Hash32) -> Json | None:
    """A header, null if there is none."""
    return get_header_by_number(context, BlockRef(hash=block_hash))


@method("eth_getBlockTransactionCountByNumber")
def count_by_number(context: Context, block: BlockRef) -> str | None:
    """Number of transactions of a block."""
    found = _transactions(context, block)
    return None if found is None else quantity(len(found))


@method("eth_getBlockTransactionCountByHash")
def count_by_hash(context: Context, block_hash: Hash32) -> str | None:
    """Number of transactions of a block."""
    return count_by_number(context, BlockRef(hash=block_hash))


@method("eth_getUncleCountByBlockNumber")
def uncle_count_by_number(context: Context, block: BlockRef) -> str | None:
    """Number of uncles of a block."""
    found = _uncles(context, block)
    return None if found is None else quantity(len(found))


@method("eth_getUncleCountByBlockHash")
def uncle_count_by_hash(context: Context, block_hash: Hash32) -> str | None:
    """Number of uncles of a block."""
    return uncle_count_by_number(context, BlockRef(hash=block_hash))


@method("eth_getUncleByBlockNumberAndIndex")
def uncle_by_number(context: Context, block: BlockRef, index: int) -> Json | None:
    """An uncle's header, null if there is none."""
    found = _uncles(context, block)
    if found is None or index >= len(found):
        return None
    return header_object(found[index]) | {"uncles": [], "transactions": []}


@method("eth_getUncleByBlockHashAndIndex")
def uncle_by_hash(context: Context, block_hash: Hash32, index: int) -> Json | None:
    """An uncle's header, null if there is none."""
    return uncle_by_number(context, BlockRef(hash=block_hash), index)


def _transaction(context: Context, at: BlockAt | None, index: int) -> Json | None:
    whole = _whole(context, at)
    return None if whole is None else whole.transaction(index)


@method("eth_getTransactionByHash")
def get_transaction_by_hash(context: Context, transaction_hash: Hash32) -> Json | None:
    """A transaction, mined or waiting, null if unknown."""
    waiting = context.backend.pending_transaction(transaction_hash)  # first: what has left the pool is in a block
    location = context.backend.transaction_location(transaction_hash)
    if location is not None:
        return _transaction(context, location.block_number, location.transaction_index)
    return None if waiting is None else transaction_object(waiting.transaction, waiting.sender)


@method("eth_getTransactionByBlockNumberAndIndex")
def transaction_by_number(context: Context, block: BlockRef, transaction_index: int) -> Json | None:
    """A transaction by its place."""
    return _transaction(context, context.find_block(block), transaction_index)


@method("eth_getTransactionByBlockHashAndIndex")
def transaction_by_hash(context: Context, block_hash: Hash32, transaction_index: int) -> Json | None:
    """A transaction by its place."""
    return transaction_by_number(context, BlockRef(hash=block_hash), transaction_index)


@method("eth_getRawTransactionByHash", "debug_getRawTransaction")
def get_raw_transaction(context: Context, transaction_hash: Hash32) -> str | None:
    """The signed bytes, null if unknown."""
    waiting = context.backend.pending_transaction(transaction_hash)  # first: what has left the pool is in a block
    location = context.backend.transaction_location(transaction_hash)
    if location is not None:
        block = context.backend.block(location.block_number)
        if block is None:
            return None
        return data(encode_transaction(block.transactions[location.transaction_index]))
    return None if waiting is None else data(encode_transaction(waiting.transaction))


def receipts_of(context: Context, at: BlockAt | None) -> list[Json] | None:
    """All receipts of a block."""
    whole = _whole(context, at)
    if whole is None:
        return None
    result, first_log = [], 0
    for index, receipt in enumerate(whole.receipts):
        result.append(whole.receipt(index, first_log))
        first_log += len(receipt.rows)
    return result


def leave_if_long(receipts: Sequence[Receipt]) -> None:
    """Before a receipt is made from a block with these: not on a thread that must not be held, if they are many."""
    if len(receipts) > BRIEF_RECEIPTS_MAX or sum(len(receipt.rows) for receipt in receipts) > BRIEF_LOGS_MAX:
        before_long_work()


def receipt_of(context: Context, transaction_hash: Hash32) -> Json | None:
    """A transaction's receipt, None while it is not mined."""
    location = context.backend.transaction_location(transaction_hash)
    if location is None:
        return None
    whole = _whole(context, location.block_number)
    if whole is None:
        return None
    leave_if_long(whole.receipts)
    index = location.transaction_index
    return whole.receipt(index, sum(len(receipt.rows) for receipt in whole.receipts[:index]))


@method("eth_getTransactionReceipt", brief=True)
def get_transaction_receipt(context: Context, transaction_hash: Hash32) -> Json | None:
    """A transaction's receipt, null while it is not mined."""
    return receipt_of(context, transaction_hash)


@method("eth_getBlockReceipts")
def get_block_receipts(context: Context, block: BlockRef) -> list[Json] | None:
    """All receipts of a block."""
    return receipts_of(context, context.find_block(block))


@method("debug_getRawHeader")
def get_raw_header(context: Context, block: BlockRef) -> Any:
    """RLP of a header."""
    header = _header(context, context.need_block(block))
    return None if header is None else data(encode_header(header))


@method("debug_getRawBlock")
def get_raw_block(context: Context, block: BlockRef) -> Any:
    """RLP of a block."""
    found = _whole(context, context.need_block(block))
    return None if found is None else data(encode_block(found.block))


@method("debug_getRawReceipts")
def get_raw_receipts(context: Context, block: BlockRef) -> Any:
    """Consensus encodings of a block's receipts."""
    found = _whole(context, context.need_block(block))
    return None if found is None else [data(encode_receipt(receipt)) for receipt in found.receipts]
