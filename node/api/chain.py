"""Reading the published chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chain.blocks import Block, Header
from chain.forks import ChainConfig
from chain.receipts import Receipt
from chain.state import StateReader
from chain.types import Address, Hash32
from node.api.pending_block import BlockAt, PendingBlock
from node.api.types import TransactionLocation
from storage.blocks.logs import FoundLog, LogQuery
from storage.blocks.rewinds import Rewinds
from storage.state.proof import AccountProof


class ChainReader(Protocol):
    """Blocks, receipts, logs and states that are durable.

    Block numbers are those of blocks that exist: callers have resolved tags and hashes.
    """

    @property
    def config(self) -> ChainConfig:
        """Chain id and forks."""

    def head(self) -> Header:
        """Header of the newest durable block. Must be cheap (an attribute read)."""

    def header(self, number: int) -> Header | None: ...

    def block(self, number: int) -> Block | None: ...

    def receipts(self, number: int) -> Sequence[Receipt] | None: ...

    def senders(self, number: int) -> Sequence[Address] | None:
        """Senders of the block's transactions, in order."""

    def block_size(self, number: int) -> int | None:
        """Length of the block's RLP, bytes."""

    def block_hash(self, number: int) -> Hash32:
        """Hash of a block, zero if there is none."""

    def number_of(self, block_hash: Hash32) -> int | None: ...

    def transaction_location(self, transaction_hash: Hash32) -> TransactionLocation | None: ...

    def logs(self, query: LogQuery) -> Sequence[FoundLog]: ...

    def pending(self) -> PendingBlock:
        """The next block as it would be now. Each call may return another one: call it once per answer."""

    def view(self, at: BlockAt) -> StateReader:
        """State after that block. Raises `StateUnavailable` outside retention."""

    def prove(self, at: BlockAt, address: Address, slots: Sequence[int]) -> AccountProof:
        """Merkle proof in the state after that block (EIP-1186). Raises `StateUnavailable`."""

    def next_base_fee(self) -> int:
        """Base fee of the block after the head, wei."""

    def blob_base_fee(self, number: int) -> int:
        """Price of blob gas in that block, wei; ``head + 1`` is allowed."""

    def fees_after(self, header: Header) -> tuple[int, int]:
        """Base fee and price of blob gas, wei, that follow from a block by EIP-1559 and EIP-4844 for the next one."""

    def published_lsn(self) -> int:
        """Everything in the log up to here is durable and seen by reads."""

    async def wait_for_lsn(self, lsn: int) -> None:
        """Return once `published_lsn` is at least ``lsn``."""

    async def wait_for_block(self, number: int, rewinds: int | None = None) -> int:
        """Return the head's number once it is at least ``number``. Event streams are built on this.

        Also returns as soon as the chain has been rewound more than ``rewinds`` times.
        """

    def rewinds(self) -> Rewinds:
        """The rewinds of the chain by development calls since the node started."""
