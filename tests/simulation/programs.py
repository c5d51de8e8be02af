"""Small hand-assembled contracts for the scripts, and the published ERC-20."""

from __future__ import annotations

from chain.hashing import keccak256
from chain.types import Address
from tests.bytecode import code
from tests.contracts import published

TRANSFER_EVENT = keccak256(b"Transfer(address,address,uint256)")


def push2(value: int) -> bytes:
    return b"\x61" + value.to_bytes(2, "big")


def deployer(runtime: bytes, *prelude: str | int | bytes) -> bytes:
    """Creation code that does the prelude and leaves ``runtime``."""
    first = code(*prelude)
    length = len(first) + 3 + 3 + 2 + 1 + 3 + 2 + 1
    tail = push2(len(runtime)) + push2(length) + code(0, "CODECOPY") + push2(len(runtime)) + code(0, "RETURN")
    assert len(first + tail) == length
    return first + tail + runtime


def token() -> bytes:
    """A token of 1,000,000 units for its creator; calldata: to, amount, one word each. A balance is in the slot
    that is its owner's address. Reverts when the caller has too little; logs Transfer.
    """
    check = code(32, "CALLDATALOAD CALLER SLOAD DUP2 DUP2 LT")
    rest = code(
        "DUP2 SWAP1 SUB CALLER SSTORE",
        0,
        "CALLDATALOAD SLOAD DUP2 ADD",
        0,
        "CALLDATALOAD SSTORE",
        0,
        "MSTORE",
    )
    log = code(0, "CALLDATALOAD CALLER", bytes([0x7F]) + TRANSFER_EVENT, 32, 0, "LOG3 STOP")
    label = len(check) + 3 + 1 + len(rest) + len(log)
    runtime = check + push2(label) + code("JUMPI") + rest + log + code("JUMPDEST", 0, 0, "REVERT")
    return deployer(runtime, 1_000_000, "CALLER SSTORE")


def token_call(to: Address, amount: int) -> bytes:
    """Calldata of `token`."""
    return to.rjust(32, b"\0") + amount.to_bytes(32, "big")


def suicidal(beneficiary: Address) -> bytes:
    """Creation code that writes a word and destroys itself in the same transaction."""
    return code(7, 1, "SSTORE", b"\x73" + beneficiary, "SELFDESTRUCT")


def factory(child: bytes) -> bytes:
    """A contract that with each call creates ``child`` (32 bytes of code at most) at the same address with CREATE2,
    passing on what it was paid, and counts the calls in slot 0.
    """
    assert len(child) <= 32
    store = code(b"\x7f" + child.ljust(32, b"\0"), 0, "MSTORE")
    create = code(0, len(child), 0, "CALLVALUE", "CREATE2", "POP")
    return deployer(store + create + code(0, "SLOAD", 1, "ADD", 0, "SSTORE", "STOP"))


def reverting() -> bytes:
    """A contract that writes, logs, and takes everything back."""
    return deployer(code(1, 0, "SSTORE", 0, 0, "LOG0", 0, 0, "REVERT"))


def published_token(owner: Address, supply: int) -> bytes:
    """Creation code of OpenZeppelin's ERC20PresetFixedSupply("T", "T", supply, owner)."""
    words = [128, 192, supply, int.from_bytes(owner, "big"), 1, 0, 1, 0]
    data = b"".join(word.to_bytes(32, "big") for word in words)
    data = data[: 5 * 32] + b"T".ljust(32, b"\0") + data[6 * 32 : 7 * 32] + b"T".ljust(32, b"\0")
    return bytes.fromhex(published("ERC20PresetFixedSupply").bytecode[2:]) + data


def published_transfer(to: Address, amount: int) -> bytes:
    """Calldata of ``transfer(address,uint256)``."""
    return keccak256(b"transfer(address,uint256)")[:4] + token_call(to, amount)


def mapping_slot(owner: Address, position: int) -> int:
    """Where Solidity keeps ``mapping(address => ...)`` number ``position`` for an owner."""
    return int.from_bytes(keccak256(owner.rjust(32, b"\0") + position.to_bytes(32, "big")), "big")
