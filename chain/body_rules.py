"""Rules for a block's body: its size, the roots in its header, and its uncles."""

from __future__ import annotations

from collections.abc import Sequence

from chain.blocks import Block, transactions_root, uncles_hash, withdrawals_root
from chain.errors import BlockTooLarge, InvalidBody, InvalidHeader, InvalidUncles
from chain.forks import ChainConfig, Fork
from chain.header_rules import check_header

MAX_BLOCK_BYTES = 10 * 1024**2 - 2 * 1024**2
"""Bytes of an encoded block from Osaka on: 10 MiB less 2 MiB for the beacon block (EIP-7934)."""

MAX_UNCLES = 2
UNCLE_GENERATIONS = 7
"""Ancestors that the uncle rules look at: an uncle's parent is one of them, and none of their uncles is repeated."""


def check_size(size: int, fork: Fork) -> None:
    """Raise `BlockTooLarge` for an encoded block of this many bytes."""
    if fork >= Fork.OSAKA and size > MAX_BLOCK_BYTES:
        raise BlockTooLarge(f"{size} bytes, the limit is {MAX_BLOCK_BYTES} (EIP-7934)")


def check_body(block: Block) -> None:
    """Raise `InvalidBody` unless the body is what the header commits to."""
    header, withdrawals = block.header, block.withdrawals
    if uncles_hash(block.uncles) != header.uncles_hash:
        raise InvalidBody("the uncles are not those of the header's uncles_hash")
    if transactions_root(block.transactions) != header.transactions_root:
        raise InvalidBody("the transactions are not those of the header's transactions_root")
    if (withdrawals is None) != (header.withdrawals_root is None):
        raise InvalidBody("withdrawals and their root come together (EIP-4895)")
    if withdrawals is not None and withdrawals_root(withdrawals) != header.withdrawals_root:
        raise InvalidBody("the withdrawals are not those of the header's withdrawals_root")


def check_uncles(block: Block, ancestors: Sequence[Block], config: ChainConfig) -> None:
    """Raise `InvalidUncles`. ``ancestors``: up to `UNCLE_GENERATIONS` blocks, the parent first."""
    if not block.uncles:
        return
    if len(block.uncles) > MAX_UNCLES:
        raise InvalidUncles(f"{len(block.uncles)} uncles, the limit is {MAX_UNCLES}")
    near = {ancestor.hash: ancestor.header for ancestor in ancestors[:UNCLE_GENERATIONS]}
    known = {block.hash, *near, *(uncle.hash for a in ancestors[:UNCLE_GENERATIONS] for uncle in a.uncles)}
    for uncle in block.uncles:
        if uncle.hash in known:
            raise InvalidUncles(f"0x{uncle.hash.hex()} is in the chain already")
        known.add(uncle.hash)
        parent = near.get(uncle.parent_hash)
        if parent is None or uncle.parent_hash == block.header.parent_hash:
            raise InvalidUncles(f"0x{uncle.hash.hex()} is not a child of an ancestor 2 to 7 blocks back")
        try:
            check_header(uncle, parent, config)
        except InvalidHeader as error:
            raise InvalidUncles(f"0x{uncle.hash.hex()}: {error}") from None
