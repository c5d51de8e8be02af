"""Sending and signing. A transaction is durable before its request is answered."""

from __future__ import annotations

import asyncio

from chain.hashing import keccak256
from chain.transactions import encode_transaction
from chain.types import ZERO_ADDRESS, Address
from node.api.errors import InvalidParams
from node.api.types import CallFields, Submitted
from node.rpc import strict_json
from node.rpc.context import Context
from node.rpc.errors import NotWaiting
from node.rpc.format import Json, data, transaction_object
from node.rpc.methods.eth_blocks import receipt_of
from node.rpc.params import LooseInt, json_object
from node.rpc.registry import Scope, method
from node.rpc.work import current_work


@method("eth_sendRawTransaction", overlaps=True, scope=Scope.SEND)
async def send_raw_transaction(context: Context, transaction: bytes) -> str:
    """Send a signed transaction; returns its hash once it is durable."""
    return data((await context.backend.submit(transaction, batch=current_work.get())).hash)


@method("eth_sendRawTransactionSync", overlaps=True, scope=Scope.SEND)
async def send_raw_transaction_sync(context: Context, transaction: bytes, timeout: LooseInt | None = None) -> Json:
    """Send a signed transaction; returns its receipt (EIP-7966). ``timeout`` is in milliseconds."""
    submitted = await context.backend.submit(transaction, batch=current_work.get())
    return await _receipt(context, submitted, timeout)


@method("eth_sendUnsignedTransaction", development=True)
async def send_unsigned_transaction(context: Context, transaction: CallFields) -> str:
    """`eth_sendTransaction` for any account; one whose key the node does not hold is impersonated, as in anvil."""
    sender = _with_sender(transaction).sender
    backend = context.backend
    if sender in backend.accounts():
        return data((await backend.send_from(transaction)).hash)
    async with context.impersonating:
        await backend.cheat("impersonate", sender, True)
        try:
            return data((await backend.send_from(transaction)).hash)
        finally:
            await backend.cheat("impersonate", sender, False)


@method("eth_sendTransaction", scope=Scope.SEND)
async def send_transaction(context: Context, transaction: CallFields) -> str:
    """Sign with a dev account's key and send; returns the transaction hash."""
    return data((await context.backend.send_from(_with_sender(transaction))).hash)


@method("eth_sendTransactionSync", overlaps=True, scope=Scope.SEND)
async def send_transaction_sync(context: Context, transaction: CallFields, timeout: LooseInt | None = None) -> Json:
    """Sign with a dev account's key and send; returns the receipt."""
    submitted = await context.backend.send_from(_with_sender(transaction), batch=current_work.get())
    return await _receipt(context, submitted, timeout)


@method("eth_fillTransaction")
def fill_transaction(context: Context, transaction: CallFields) -> Json:
    """The unsigned transaction with nonce, gas, fees and type filled in, and its encoding; it is not sent."""
    filled, sender = context.backend.fill(_with_purpose(transaction)), transaction.sender or ZERO_ADDRESS
    places = ("blockHash", "blockNumber", "transactionIndex", "blockTimestamp", "from")
    shown = {name: value for name, value in transaction_object(filled, sender).items() if name not in places}
    return {"raw": data(encode_transaction(filled)), "tx": shown}


@method("eth_signTransaction", scope=Scope.SEND)
def sign_transaction(context: Context, transaction: CallFields) -> str:
    """Fill in and sign a transaction with a dev account's key; returns its encoding. It is not sent."""
    return data(encode_transaction(context.backend.sign_filled(_with_sender(transaction))))


@method("eth_sign", scope=Scope.SEND)
def sign(context: Context, address: Address, message: bytes) -> str:
    """EIP-191 signature of a message with a dev account's key."""
    return _sign_message(context, address, message)


@method("personal_sign", scope=Scope.SEND)
def personal_sign(context: Context, message: bytes, address: Address, password: object = None) -> str:  # noqa: ARG001
    """`eth_sign` with its parameters swapped, as wallets call it. The password is ignored."""
    return _sign_message(context, address, message)


@method("eth_signTypedData_v4", "eth_signTypedData", scope=Scope.SEND)
def sign_typed_data(context: Context, address: Address, typed_data: object) -> str:
    """EIP-712 signature with a dev account's key; the data as an object or as its JSON text."""
    from eth_abi.exceptions import EncodingError  # slow to load, seldom used
    from eth_account.messages import encode_typed_data

    message = strict_json.decode(typed_data.encode(), context.limits) if isinstance(typed_data, str) else typed_data
    try:
        signable = encode_typed_data(full_message=json_object(message))
    except (ValueError, TypeError, KeyError, AttributeError, EncodingError) as error:
        raise InvalidParams(f"not EIP-712 typed data: {error}") from None
    preimage = b"\x19" + signable.version + signable.header + signable.body
    return _signature(context, address, preimage)


def _sign_message(context: Context, address: Address, message: bytes) -> str:
    prefix = b"\x19Ethereum Signed Message:\n" + str(len(message)).encode()
    return _signature(context, address, prefix + message)


def _signature(context: Context, address: Address, preimage: bytes) -> str:
    """65 bytes r, s, v (27 or 28) over the hash of the preimage."""
    y_parity, r, s = context.backend.sign(address, keccak256(preimage))
    return data(r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + y_parity]))


def _with_sender(fields: CallFields) -> CallFields:
    if fields.sender is None:
        raise InvalidParams("field from is missing: it names the dev account that signs")
    return _with_purpose(fields)


def _with_purpose(fields: CallFields) -> CallFields:
    """Like geth, refuse a creation without code: it would lose its value, and the recipient was probably forgotten."""
    if fields.to is None and not fields.data:
        raise InvalidParams("contract creation without any data provided: give to or data")
    return fields


async def _receipt(context: Context, submitted: Submitted, timeout_ms: int | None) -> Json:
    limit_s = context.limits.wait_mined_max_s
    wait_s = limit_s if timeout_ms is None else min(timeout_ms / 1000, limit_s)
    try:
        async with asyncio.timeout(wait_s):
            await wait_until_mined(context, submitted)
    except TimeoutError:
        raise NotWaiting(f"transaction 0x{submitted.hash.hex()} was not mined within {wait_s:g} s") from None
    receipt = receipt_of(context, submitted.hash)
    assert receipt is not None, "a mined transaction has a receipt"
    return receipt


async def wait_until_mined(context: Context, submitted: Submitted) -> None:
    """Return once the transaction is in a block."""
    if submitted.block_number is not None:
        return
    while context.backend.transaction_location(submitted.hash) is None:
        await context.backend.wait_for_block(context.backend.head().number + 1)
