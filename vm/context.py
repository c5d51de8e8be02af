"""What all frames of one execution share: the block environment, the transaction's parameters, the journal."""

from __future__ import annotations

from dataclasses import dataclass

from chain.environment import BlockEnvironment
from chain.state import BlockHashes
from chain.types import Address, Hash32
from vm.console import ConsoleCalls
from vm.journal import Journal


@dataclass(slots=True)
class ExecutionContext:
    """The context of a message's execution, shared by all messages inside it.

    The journal belongs to the transaction that is being applied; the execution changes it.
    """

    environment: BlockEnvironment
    block_hash: BlockHashes
    """Hash of a block by its number, of the 256 before this one."""
    journal: Journal
    origin: Address
    """The transaction's sender (ORIGIN)."""
    gas_price: int
    """Effective gas price, wei."""
    blob_hashes: tuple[Hash32, ...] = ()
    blob_base_fee: int = 1
    """Wei for a unit of blob gas (EIP-7516)."""
    console: ConsoleCalls | None = None
    """Collects calls of console.log; None if they are not needed."""
