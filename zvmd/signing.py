"""Transactions signed on the client's side: the key never leaves the process."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from zvmd.abi import bad_input

MAX_FEE_FACTOR = 2
"""The base fee may rise by half in the next blocks without the transaction getting stuck."""


class MethodCaller(Protocol):
    """Anything that answers JSON-RPC methods."""

    async def rpc(self, method: str, *params: Any) -> Any:
        """Result of a method."""


async def complete_and_sign(
    client: MethodCaller, key: bytes | str, to: bytes | None, data: bytes, value: int, gas: int | None
) -> bytes:
    """Raw type-2 transaction with nonce, fees and gas limit asked from the node. Raises `ZvmdError`."""
    from eth_account import Account

    try:
        account = Account.from_key(key)
    except (ValueError, TypeError):  # neither says more than this, and an error should not quote a key
        raise bad_input("that is not a private key", "give 32 bytes, or 0x and 64 digits") from None
    call: dict[str, Any] = {"from": account.address, "value": hex(value), "data": "0x" + data.hex()}
    if to is not None:
        call["to"] = "0x" + to.hex()

    async def gas_limit() -> str:
        return hex(gas) if gas is not None else await client.rpc("eth_estimateGas", call)

    nonce, chain_id, tip, price, limit = await asyncio.gather(
        client.rpc("eth_getTransactionCount", account.address, "pending"),
        client.rpc("eth_chainId"),
        client.rpc("eth_maxPriorityFeePerGas"),
        client.rpc("eth_gasPrice"),
        gas_limit(),
    )
    fields: dict[str, Any] = {
        "type": 2,
        "chainId": int(chain_id, 16),
        "nonce": int(nonce, 16),
        "maxPriorityFeePerGas": int(tip, 16),
        "maxFeePerGas": MAX_FEE_FACTOR * int(price, 16),
        "gas": int(limit, 16),
        "value": value,
        "data": data,
    }
    if to is not None:
        fields["to"] = to
    return bytes(account.sign_transaction(fields).raw_transaction)
