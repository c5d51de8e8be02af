"""Formats domain objects as JSON-RPC: quantities, data, and the field names of the execution APIs.

>>> quantity(0), quantity(31), data(b"\\x00\\xff")
('0x0', '0x1f', '0x00ff')
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chain.blocks import Block, Header
from chain.environment import Withdrawal
from chain.receipts import Receipt
from chain.state import EMPTY_ACCOUNT
from chain.transactions import (
    ACCESS_LIST,
    BLOB,
    DYNAMIC_FEE,
    LEGACY,
    SET_CODE,
    Authorization,
    Transaction,
    effective_gas_price,
)
from chain.types import Address
from storage.blocks.logs import FoundLog
from storage.state.proof import AccountProof

Json = dict[str, Any]

quantity = hex
"""Integer to a quantity."""


def data(value: bytes) -> str:
    """Bytes to data."""
    return "0x" + value.hex()


def data_or_none(value: bytes | None) -> str | None:
    """Bytes to data, None to null."""
    return None if value is None else data(value)


def word(value: int) -> str:
    """A storage value: 32 bytes of data."""
    return f"0x{value:064x}"


def header_object(header: Header, size: int | None = None, *, pending: bool = False) -> Json:
    """A header: block objects begin with it and ``newHeads`` sends it.

    That of the ``pending`` block has null for what only sealing gives it: hash, nonce and miner, as in geth.
    """
    result: Json = {
        "number": quantity(header.number),
        "hash": None if pending else data(header.hash),
        "parentHash": data(header.parent_hash),
        "nonce": None if pending else data(header.nonce),
        "sha3Uncles": data(header.uncles_hash),
        "logsBloom": data(header.bloom),
        "transactionsRoot": data(header.transactions_root),
        "stateRoot": data(header.state_root),
        "receiptsRoot": data(header.receipts_root),
        "miner": None if pending else data(header.coinbase),
        "difficulty": quantity(header.difficulty),
        "extraData": data(header.extra_data),
        "mixHash": data(header.prevrandao),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
    }
    if size is not None:
        result["size"] = quantity(size)
    later: tuple[tuple[str, int | bytes | None], ...] = (
        ("baseFeePerGas", header.base_fee),
        ("withdrawalsRoot", header.withdrawals_root),
        ("blobGasUsed", header.blob_gas_used),
        ("excessBlobGas", header.excess_blob_gas),
        ("parentBeaconBlockRoot", header.parent_beacon_root),
        ("requestsHash", header.requests_hash),
    )
    for name, value in later:
        if value is not None:
            result[name] = quantity(value) if isinstance(value, int) else data(value)
    return result


def block_object(block: Block, size: int, senders: Sequence[Address] | None, *, pending: bool = False) -> Json:
    """A block; with whole transactions if ``senders`` are given, else with their hashes.

    The transactions of the ``pending`` block are shown as waiting ones are: without a block.
    """
    header = block.header
    result = header_object(header, size, pending=pending)
    result["uncles"] = [data(uncle.hash) for uncle in block.uncles]
    if senders is None:
        result["transactions"] = [data(tx.hash) for tx in block.transactions]
    else:
        result["transactions"] = [
            transaction_object(tx, sender, None if pending else header, index)
            for index, (tx, sender) in enumerate(zip(block.transactions, senders, strict=True))
        ]
    if block.withdrawals is not None:
        result["withdrawals"] = [_withdrawal(item) for item in block.withdrawals]
    return result


def _withdrawal(item: Withdrawal) -> Json:
    return {
        "index": quantity(item.index),
        "validatorIndex": quantity(item.validator_index),
        "address": data(item.address),
        "amount": quantity(item.amount),
    }


def proof_object(address: Address, proof: AccountProof, keys: list[str]) -> Json:
    """The answer of ``eth_getProof`` (EIP-1186); ``keys`` are the slots as the caller is to see them."""
    account = proof.stored.account or EMPTY_ACCOUNT
    return {
        "address": data(address),
        "accountProof": [data(node) for node in proof.nodes],
        "balance": quantity(account.balance),
        "codeHash": data(account.code_hash),
        "nonce": quantity(account.nonce),
        "storageHash": data(proof.stored.root),
        "storageProof": [
            {"key": key, "value": quantity(slot.value), "proof": [data(node) for node in slot.nodes]}
            for key, slot in zip(keys, proof.slots, strict=True)
        ],
    }


def access_list(items: tuple[tuple[Address, tuple[int, ...]], ...]) -> list[Json]:
    """An access list (EIP-2930)."""
    return [{"address": data(address), "storageKeys": [word(slot) for slot in slots]} for address, slots in items]


def _authorization(item: Authorization) -> Json:
    return {
        "chainId": quantity(item.chain_id),
        "address": data(item.address),
        "nonce": quantity(item.nonce),
        "yParity": quantity(item.y_parity),
        "r": quantity(item.r),
        "s": quantity(item.s),
    }


def transaction_object(tx: Transaction, sender: Address, header: Header | None = None, index: int = 0) -> Json:
    """A transaction; ``header`` is that of its block, None while it waits in the pool."""
    result: Json = {
        "blockHash": data_or_none(header.hash if header else None),
        "blockNumber": quantity(header.number) if header else None,
        "transactionIndex": quantity(index) if header else None,
        "blockTimestamp": quantity(header.timestamp) if header else None,
        "from": data(sender),
        "to": data_or_none(tx.to),
        "hash": data(tx.hash),
        "nonce": quantity(tx.nonce),
        "gas": quantity(tx.gas_limit),
        "value": quantity(tx.value),
        "input": data(tx.data),
        "type": quantity(tx.type),
        "v": quantity(tx.v),
        "r": quantity(tx.r),
        "s": quantity(tx.s),
    }
    if tx.chain_id is not None:
        result["chainId"] = quantity(tx.chain_id)
    if tx.type in (LEGACY, ACCESS_LIST):
        result["gasPrice"] = quantity(tx.gas_price)
    else:
        base_fee = header.base_fee if header else None
        price = tx.max_fee_per_gas if base_fee is None else effective_gas_price(tx, base_fee)
        result["gasPrice"] = quantity(price)
    if tx.type != LEGACY:
        result["yParity"] = quantity(tx.y_parity)
        result["accessList"] = access_list(tx.access_list)
    if tx.type >= DYNAMIC_FEE:
        result["maxFeePerGas"] = quantity(tx.max_fee_per_gas)
        result["maxPriorityFeePerGas"] = quantity(tx.max_priority_fee_per_gas)
    if tx.type == BLOB:
        result["maxFeePerBlobGas"] = quantity(tx.max_fee_per_blob_gas)
        result["blobVersionedHashes"] = [data(item) for item in tx.blob_versioned_hashes]
    if tx.type == SET_CODE:
        result["authorizationList"] = [_authorization(item) for item in tx.authorization_list]
    return result


def receipt_object(
    receipt: Receipt,
    tx: Transaction,
    sender: Address,
    header: Header,
    index: int,
    first_log_index: int,
    *,
    pending: bool = False,
) -> Json:
    """A receipt; its logs are counted over the block from ``first_log_index``. Of a ``pending`` block: without hash."""
    block_hash, number, tx_hash = None if pending else data(header.hash), quantity(header.number), data(tx.hash)
    result: Json = {
        "type": quantity(receipt.type),
        "transactionHash": tx_hash,
        "transactionIndex": quantity(index),
        "blockHash": block_hash,
        "blockNumber": number,
        "from": data(sender),
        "to": data_or_none(tx.to),
        "contractAddress": data_or_none(receipt.contract_address),
        "gasUsed": quantity(receipt.gas_used),
        "cumulativeGasUsed": quantity(receipt.cumulative_gas_used),
        "effectiveGasPrice": quantity(receipt.effective_gas_price),
        "logsBloom": data(receipt.bloom),
        "logs": [
            {
                "address": data(address),
                "topics": [data(topic) for topic in topics],
                "data": data(content),
                "blockHash": block_hash,
                "blockNumber": number,
                "blockTimestamp": quantity(header.timestamp),
                "transactionHash": tx_hash,
                "transactionIndex": quantity(index),
                "logIndex": quantity(first_log_index + offset),
                "removed": False,
            }
            for offset, (address, topics, content) in enumerate(receipt.rows)
        ],
    }
    if receipt.status is not None:
        result["status"] = quantity(receipt.status)
    if receipt.post_state is not None:
        result["root"] = data(receipt.post_state)
    if tx.type == BLOB and receipt.blob_gas_used is not None and receipt.blob_gas_price is not None:
        result["blobGasUsed"] = quantity(receipt.blob_gas_used)
        result["blobGasPrice"] = quantity(receipt.blob_gas_price)
    return result


def log_object(entry: FoundLog) -> Json:
    """A log of ``eth_getLogs`` and subscriptions."""
    return {
        "address": data(entry.log.address),
        "topics": [data(topic) for topic in entry.log.topics],
        "data": data(entry.log.data),
        "blockNumber": quantity(entry.block_number),
        "blockHash": data(entry.block_hash),
        "blockTimestamp": quantity(entry.block_timestamp),
        "transactionHash": data(entry.transaction_hash),
        "transactionIndex": quantity(entry.transaction_index),
        "logIndex": quantity(entry.log_index),
        "removed": False,
    }
