"""Domain objects to and from the messages of the wire; the counterpart of ``node/rpc/format.py``."""

from __future__ import annotations

from collections.abc import Sequence

from chain.blocks import Block, Header
from chain.errors import ZvmdError
from chain.receipts import Receipt
from chain.transactions import encode_transaction
from chain.types import Address, Hash32
from node.api.errors import ExecutionReverted, InvalidParams
from node.api.types import CallFields, LogPosition, PendingTransaction
from node.rpc.params import LATEST, BlockRef, block_ref
from storage.blocks.logs import FoundLog
from zvmd.frames import (
    BlockName,
    CallContract,
    Cursor,
    DeployContract,
    Failure,
    HeadBody,
    LogBody,
    OneCall,
    ReceiptBody,
    TransactionBody,
)


def address_of(value: bytes) -> Address:
    """20 bytes. Raises `InvalidParams`."""
    if len(value) != 20:
        raise InvalidParams(f"an address has 20 bytes, got {len(value)}")
    return Address(value)


def hash_of(value: bytes) -> Hash32:
    """32 bytes. Raises `InvalidParams`."""
    if len(value) != 32:
        raise InvalidParams(f"a hash has 32 bytes, got {len(value)}")
    return Hash32(value)


def amount_of(value: bytes) -> int:
    """Big-endian bytes to an integer of at most 256 bits. Raises `InvalidParams`."""
    if len(value) > 32:
        raise InvalidParams(f"an amount has at most 32 bytes, got {len(value)}")
    return int.from_bytes(value, "big")


def amount_bytes(value: int) -> bytes:
    """An integer as minimal big-endian bytes."""
    return value.to_bytes((value.bit_length() + 7) >> 3, "big")


def block_of(name: BlockName) -> BlockRef:
    """Number, tag, 0x-hash or None. Raises `InvalidParams`."""
    if name is None:
        return LATEST
    return BlockRef(number=name) if isinstance(name, int) else block_ref(name)


def cursor_of(cursor: Cursor | None) -> LogPosition | None:
    """A resume position."""
    return None if cursor is None else LogPosition(*cursor)


def topics_of(topics: Sequence[Sequence[bytes]]) -> tuple[frozenset[Hash32], ...]:
    """Alternatives by position; an empty list matches any topic. Raises `InvalidParams`."""
    if len(topics) > 4:
        raise InvalidParams("a log has at most four topics")
    return tuple(frozenset(hash_of(choice) for choice in choices) for choices in topics)


def call_of(request: CallContract | OneCall) -> CallFields:
    """The simulated call of a message. Raises `InvalidParams`."""
    return CallFields(
        sender=None if request.sender is None else address_of(request.sender),
        to=None if request.to is None else address_of(request.to),
        data=request.data,
        value=amount_of(request.value) if request.value else 0,
        gas=request.gas,
    )


def creation_of(request: DeployContract) -> CallFields:
    """The creation of a message."""
    return CallFields(
        sender=address_of(request.sender), data=request.code, value=amount_of(request.value), gas=request.gas
    )


def failure_of(request_id: int, error: ZvmdError) -> Failure:
    """Any error as a message."""
    data = error.output if isinstance(error, ExecutionReverted) else None
    return Failure(request_id, error.code, error.rpc_code, str(error) or type(error).__name__, error.hint, data)


def log_body(entry: FoundLog) -> LogBody:
    """A log and its place."""
    log = entry.log
    return LogBody(
        log.address,
        list(log.topics),
        log.data,
        entry.block_number,
        entry.block_hash,
        entry.block_timestamp,
        entry.transaction_hash,
        entry.transaction_index,
        entry.log_index,
    )


def transaction_body(waiting: PendingTransaction) -> TransactionBody:
    """A transaction that waits in the pool."""
    transaction = waiting.transaction
    return TransactionBody(
        transaction.hash,
        waiting.sender,
        transaction.nonce,
        transaction.to,
        amount_bytes(transaction.value),
        transaction.gas_limit,
        encode_transaction(transaction),
    )


def receipt_body(block: Block, receipts: Sequence[Receipt], sender: Address, index: int) -> ReceiptBody:
    """The receipt of the transaction at ``index``."""
    header, tx, receipt = block.header, block.transactions[index], receipts[index]
    first_log = sum(len(earlier.rows) for earlier in receipts[:index])
    logs = [
        LogBody(
            address,
            list(topics),
            data,
            header.number,
            header.hash,
            header.timestamp,
            tx.hash,
            index,
            first_log + offset,
        )
        for offset, (address, topics, data) in enumerate(receipt.rows)
    ]
    return ReceiptBody(
        tx.hash,
        receipt.status,
        header.number,
        header.hash,
        index,
        sender,
        tx.to,
        receipt.contract_address,
        receipt.gas_used,
        receipt.cumulative_gas_used,
        amount_bytes(receipt.effective_gas_price),
        receipt.type,
        logs,
    )


def head_body(header: Header, transactions: int) -> HeadBody:
    """A block in short."""
    return HeadBody(
        header.number,
        header.hash,
        header.parent_hash,
        header.timestamp,
        header.gas_used,
        header.gas_limit,
        amount_bytes(header.base_fee or 0),
        header.state_root,
        transactions,
    )
