"""The published chain as the protocols read it: blocks, states and fees of what is durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chain.blocks import Block, Header, encode_block
from chain.brief import before_long_work
from chain.fees import blob_base_fee
from chain.forks import ChainConfig, Fork
from chain.production import ChainSettings, excess_blob_gas_after, next_base_fee
from chain.receipts import Receipt
from chain.state import StateReader
from chain.types import Address, Hash32
from node.api.errors import UnknownBlock
from node.api.pending_block import BlockAt, PendingBlock
from node.api.types import TransactionLocation
from node.engine.pending import PendingBlocks
from node.engine.publications import Publications
from storage.blocks.logs import FoundLog, LogQuery
from storage.blocks.rewinds import Rewinds
from storage.state.proof import AccountProof, prove
from storage.store import Store


class PublishedChain:
    """Implements `node.api.chain.ChainReader`. Owns nothing: what is published is the store's."""

    def __init__(
        self,
        store: Store,
        config: ChainConfig,
        publications: Publications,
        pending_blocks: PendingBlocks,
        is_waiting: Callable[[Hash32], bool],
    ) -> None:
        """``is_waiting`` returns whether the pool has a transaction."""
        self.config = config
        """Chain id and forks."""
        self._store = store
        self._publications = publications
        self._pending_blocks = pending_blocks
        self._is_waiting = is_waiting

    @property
    def published(self) -> tuple[int, int]:
        """Names the newest published state for caches (`Store.published`)."""
        return self._store.published

    def head(self) -> Header:
        """Header of the newest durable block."""
        return self._store.head

    def header(self, number: int) -> Header | None:
        """Header of a published block."""
        return self._store.chain.header(number) if 0 <= number <= self.head().number else None

    def block(self, number: int) -> Block | None:
        """A published block."""
        return self._store.chain.block(number) if 0 <= number <= self.head().number else None

    def receipts(self, number: int) -> Sequence[Receipt] | None:
        """Receipts of a published block."""
        return self._store.chain.receipts(number) if 0 <= number <= self.head().number else None

    def senders(self, number: int) -> Sequence[Address] | None:
        """Senders of a published block's transactions, in order."""
        return self._store.chain.senders(number) if 0 <= number <= self.head().number else None

    def block_size(self, number: int) -> int | None:
        """Length of the block's RLP, bytes."""
        return len(encode_block(block)) if (block := self.block(number)) is not None else None

    def number_of(self, block_hash: Hash32) -> int | None:
        """Number of the published block with this hash."""
        number = self._store.chain.number_of(block_hash)
        return number if number is not None and number <= self.head().number else None

    def transaction_location(self, transaction_hash: Hash32) -> TransactionLocation | None:
        """Block and index of a transaction in a published block."""
        place = self._store.transaction_place(transaction_hash, self._is_waiting)
        if place is None or place.block_number > self.head().number:
            return None
        return TransactionLocation(place.block_number, place.transaction_index)

    def logs(self, query: LogQuery) -> Sequence[FoundLog]:
        """Logs that match, lowest positions first, at most ``query.limit``."""
        return self._store.logs(query)

    def block_hash(self, number: int) -> Hash32:
        """Hash of a block, zero if there is none."""
        return self._store.applied.block_hash(number)

    def pending(self) -> PendingBlock:
        """The pending block, from the pool and the clock. Reader threads."""
        before_long_work()
        return self._pending_blocks.newest()

    def view(self, at: BlockAt) -> StateReader:
        """State after a block. Raises StateUnavailable outside retention."""
        return self._store.view(at) if isinstance(at, int) else at.state

    def state_position(self, number: int) -> int:
        """Position of the newest published state that follows a block (`storage.state.positions`)."""
        return self._store.view(number).number

    def view_at(self, number: int, position: int) -> StateReader:
        """A published state that followed a block. Raises StateUnavailable, also after it was reverted."""
        return self._store.view(number, position)

    def prove(self, at: BlockAt, address: Address, slots: Sequence[int]) -> AccountProof:
        """Merkle proof of an account and slots in the state after a block (EIP-1186)."""
        return prove(self._store.state.view(at), address, slots) if isinstance(at, int) else at.prove(address, slots)

    def next_base_fee(self) -> int:
        """Base fee of the block after the head, wei."""
        return next_base_fee(self.head(), self.next_fork(), self._store.applied.settings)

    def blob_base_fee(self, number: int) -> int:
        """Price of blob gas in that block, wei; ``head + 1`` is allowed."""
        head = self.head()
        if number == head.number + 1:
            return self.fees_after(head)[1]
        header = self.header(number)
        if header is None:
            raise UnknownBlock(f"there is no block {number}")
        fraction = self.config.blobs_at(header.timestamp).base_fee_update_fraction
        return blob_base_fee(header.excess_blob_gas or 0, fraction)

    def fees_after(self, header: Header) -> tuple[int, int]:
        """Base fee and price of blob gas, wei, that follow from a block for the next one."""
        schedule = self.config.blobs_at(header.timestamp)
        fork = self.config.fork_at(header.number + 1, header.timestamp)
        excess = excess_blob_gas_after(header, schedule, fork) if fork >= Fork.CANCUN else 0
        return next_base_fee(header, fork, ChainSettings()), blob_base_fee(excess, schedule.base_fee_update_fraction)

    def published_lsn(self) -> int:
        """Everything in the log up to here is durable and seen by reads."""
        return self._publications.lsn

    async def wait_for_lsn(self, lsn: int) -> None:
        """Return once reads see everything up to this record."""
        await self._publications.wait_for_lsn(lsn)

    async def wait_for_block(self, number: int, rewinds: int | None = None) -> int:
        """Return the head's number once it is at least ``number``, or once the chain has been rewound again."""
        return await self._publications.wait_for_block(number, rewinds)

    def rewinds(self) -> Rewinds:
        """The rewinds of the chain since the start."""
        return self._store.rewinds

    def next_fork(self) -> Fork:
        """Fork of the block after the head, which is a second later at least."""
        head = self.head()
        return self.config.fork_at(head.number + 1, head.timestamp + 1)
