"""Signed transfers, made before the clock starts, and the token they move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode

from tests.contracts import dev_account, published
from tests.daemon import CHAIN_ID
from tests.rpc import Rpc

SUPPLY = 10**30
TOKENS_EACH = 10**12
GAS_PRICE = 100 * 10**9
"""100 gwei: above any base fee the runs reach."""
RECIPIENT = "0x" + "d1" * 20


@dataclass(frozen=True, slots=True)
class Signed:
    """A raw transaction in hex and its hash."""

    raw: str
    hash: str


def sign(index: int, nonce: int, to: str | None, *, value: int = 0, data: str = "0x", gas: int) -> Signed:
    """A legacy (EIP-155) transaction of development account ``index``."""
    transaction: dict[str, Any] = {
        "nonce": nonce,
        "gasPrice": GAS_PRICE,
        "gas": gas,
        "chainId": CHAIN_ID,
        "value": value,
        "data": data,
        "to": bytes.fromhex(to.removeprefix("0x")) if to else b"",
    }
    signed = dev_account(index).sign_transaction(transaction)
    return Signed("0x" + bytes(signed.raw_transaction).hex(), "0x" + bytes(signed.hash).hex())


def ether(index: int, first_nonce: int, count: int) -> list[Signed]:
    """``count`` transfers of one wei."""
    return [sign(index, first_nonce + n, RECIPIENT, value=1, gas=21_000) for n in range(count)]


def tokens(index: int, first_nonce: int, count: int, token: str) -> list[Signed]:
    """``count`` transfers of one token unit."""
    data = "0xa9059cbb" + RECIPIENT.removeprefix("0x").rjust(64, "0") + f"{1:064x}"
    return [sign(index, first_nonce + n, token, data=data, gas=60_000) for n in range(count)]


def balance_of(address: str) -> str:
    """Calldata of ``balanceOf(address)``."""
    return "0x70a08231" + address.lower().removeprefix("0x").rjust(64, "0")


def deploy_token(rpc: Rpc, holders: range) -> str:
    """Deploy the ERC-20 as account 0, give each holder tokens, and return its address."""
    contract = published("ERC20PresetFixedSupply")
    owner = dev_account(0).address
    arguments = encode(["string", "string", "uint256", "address"], ["Bench", "BNC", SUPPLY, owner])
    deployment = sign(0, 0, None, data=contract.bytecode + arguments.hex(), gas=2_000_000)
    receipt = send_and_wait(rpc, deployment)
    token: str = receipt["contractAddress"]
    for nonce, holder in enumerate(holders, start=1):
        address = dev_account(holder).address.lower()
        data = "0xa9059cbb" + address.removeprefix("0x").rjust(64, "0") + f"{TOKENS_EACH:064x}"
        send_and_wait(rpc, sign(0, nonce, token, data=data, gas=100_000))
    return token


def send_and_wait(rpc: Rpc, signed: Signed) -> dict[str, Any]:
    """Send, then ask until there is a receipt (zvmd has it at once; anvil answers before it mines)."""
    answered = rpc.call("eth_sendRawTransaction", signed.raw)
    assert answered == signed.hash
    while True:
        receipt: dict[str, Any] | None = rpc.call("eth_getTransactionReceipt", signed.hash)
        if receipt is not None:
            assert receipt["status"] == "0x1", receipt
            return receipt
