"""Blocks, their transactions and receipts."""

from __future__ import annotations

from typing import Any

from chain.blocks import Block, encode_block, encode_header
from chain.receipts import encode_receipt
from chain.transactions import encode_transaction
from chain.types import Hash32
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


def _block(context: Context, ref: BlockRef) -> Block | None:
    number = context.find_block(ref)
    return None if number is None else context.backend.block(number)


def _block_json(context: Context, ref: BlockRef, hydrated: bool) -> Json | None:
    block = _block(context, ref)
    if block is None:
        return None
    number = block.header.number
    size = context.backend.block_size(number) or 0
    senders = tuple(context.backend.senders(number) or ()) if hydrated else None
    return block_object(block, size, senders)


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
    number = context.find_block(block)
    header = None if number is None else context.backend.header(number)
    return None if header is None else header_object(header)


@method("eth_getHeaderByHash")
def get_header_by_hash(context: Context, block_hash: Hash32) -> Json | None:
    """A header, null if there is none."""
    return get_header_by_number(context, BlockRef(hash=block_hash))


@method("eth_getBlockTransactionCountByNumber")
def count_by_number(context: Context, block: BlockRef) -> str | None:
    """Number of transactions of a block."""
    found = _block(context, block)
    return None if found is None else quantity(len(found.transactions))


@method("eth_getBlockTransactionCountByHash")
def count_by_hash(context: Context, block_hash: Hash32) -> str | None:
    """Number of transactions of a block."""
    return count_by_number(context, BlockRef(hash=block_hash))


@method("eth_getUncleCountByBlockNumber")
def uncle_count_by_number(context: Context, block: BlockRef) -> str | None:
    """Number of uncles of a block."""
    found = _block(context, block)
    return None if found is None else quantity(len(found.uncles))


@method("eth_getUncleCountByBlockHash")
def uncle_count_by_hash(context: Context, block_hash: Hash32) -> str | None:
    """Number of uncles of a block."""
    return uncle_count_by_number(context, BlockRef(hash=block_hash))


@method("eth_getUncleByBlockNumberAndIndex")
def uncle_by_number(context: Context, block: BlockRef, index: int) -> Json | None:
    """An uncle's header, null if there is none."""
    found = _block(context, block)
    if found is None or index >= len(found.uncles):
        return None
    return header_object(found.uncles[index]) | {"uncles": [], "transactions": []}


@method("eth_getUncleByBlockHashAndIndex")
def uncle_by_hash(context: Context, block_hash: Hash32, index: int) -> Json | None:
    """An uncle's header, null if there is none."""
    return uncle_by_number(context, BlockRef(hash=block_hash), index)


def _transaction(context: Context, number: int, index: int) -> Json | None:
    block, senders = context.backend.block(number), context.backend.senders(number)
    if block is None or senders is None or index >= len(block.transactions):
        return None
    return transaction_object(block.transactions[index], senders[index], block.header, index)


@method("eth_getTransactionByHash")
def get_transaction_by_hash(context: Context, transaction_hash: Hash32) -> Json | None:
    """A transaction, mined or waiting, null if unknown."""
    location = context.backend.transaction_location(transaction_hash)
    if location is not None:
        return _transaction(context, *location)
    waiting = context.backend.pending_transaction(transaction_hash)
    return None if waiting is None else transaction_object(waiting.transaction, waiting.sender)


@method("eth_getTransactionByBlockNumberAndIndex")
def transaction_by_number(context: Context, block: BlockRef, transaction_index: int) -> Json | None:
    """A transaction by its place."""
    number = context.find_block(block)
    return None if number is None else _transaction(context, number, transaction_index)


@method("eth_getTransactionByBlockHashAndIndex")
def transaction_by_hash(context: Context, block_hash: Hash32, transaction_index: int) -> Json | None:
    """A transaction by its place."""
    return transaction_by_number(context, BlockRef(hash=block_hash), transaction_index)


@method("eth_getRawTransactionByHash", "debug_getRawTransaction")
def get_raw_transaction(context: Context, transaction_hash: Hash32) -> str | None:
    """The signed bytes, null if unknown."""
    location = context.backend.transaction_location(transaction_hash)
    if location is not None:
        block = context.backend.block(location.block_number)
        if block is None:
            return None
        return data(encode_transaction(block.transactions[location.transaction_index]))
    waiting = context.backend.pending_transaction(transaction_hash)
    return None if waiting is None else data(encode_transaction(waiting.transaction))


def receipts_of(context: Context, number: int) -> list[Json] | None:
    """All receipts of a block."""
    block, receipts = context.backend.block(number), context.backend.receipts(number)
    senders = context.backend.senders(number)
    if block is None or receipts is None or senders is None:
        return None
    result, first_log = [], 0
    for index, (tx, receipt) in enumerate(zip(block.transactions, receipts, strict=True)):
        result.append(receipt_object(receipt, tx, senders[index], block.header, index, first_log))
        first_log += len(receipt.logs)
    return result


def receipt_of(context: Context, transaction_hash: Hash32) -> Json | None:
    """A transaction's receipt, None while it is not mined."""
    location = context.backend.transaction_location(transaction_hash)
    if location is None:
        return None
    number, index = location
    block, receipts = context.backend.block(number), context.backend.receipts(number)
    senders = context.backend.senders(number)
    if block is None or receipts is None or senders is None:
        return None
    first_log = sum(len(receipt.logs) for receipt in receipts[:index])
    return receipt_object(receipts[index], block.transactions[index], senders[index], block.header, index, first_log)


@method("eth_getTransactionReceipt")
def get_transaction_receipt(context: Context, transaction_hash: Hash32) -> Json | None:
    """What the transaction did, null while it is not mined."""
    return receipt_of(context, transaction_hash)


@method("eth_getBlockReceipts")
def get_block_receipts(context: Context, block: BlockRef) -> list[Json] | None:
    """All receipts of a block."""
    number = context.find_block(block)
    return None if number is None else receipts_of(context, number)


@method("debug_getRawHeader")
def get_raw_header(context: Context, block: BlockRef) -> Any:
    """RLP of a header."""
    header = context.backend.header(context.need_block(block))
    return None if header is None else data(encode_header(header))


@method("debug_getRawBlock")
def get_raw_block(context: Context, block: BlockRef) -> Any:
    """RLP of a block."""
    found = context.backend.block(context.need_block(block))
    return None if found is None else data(encode_block(found))


@method("debug_getRawReceipts")
def get_raw_receipts(context: Context, block: BlockRef) -> Any:
    """Consensus encodings of a block's receipts."""
    receipts = context.backend.receipts(context.need_block(block))
    return None if receipts is None else [data(encode_receipt(receipt)) for receipt in receipts]
