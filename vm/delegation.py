"""The delegation designator: code of 23 bytes by which an account runs another's code (EIP-7702)."""

from __future__ import annotations

from chain.types import Address

DELEGATION_PREFIX = bytes.fromhex("ef0100")
DELEGATION_BYTES = 23


def designator(address: Address) -> bytes:
    """Code that delegates to the address."""
    return DELEGATION_PREFIX + address


def delegation_target(code: bytes) -> Address | None:
    """The account that this code delegates to, None if it is not a designator.

    >>> delegation_target(designator(Address(bytes(20)))) == bytes(20)
    True
    """
    if len(code) == DELEGATION_BYTES and code.startswith(DELEGATION_PREFIX):
        return Address(code[3:])
    return None
