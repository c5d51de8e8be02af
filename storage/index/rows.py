"""What goes into the index: the rows of a block, and how far the index reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from chain.types import Address, Hash32
from storage.index.sessions import SessionRow


class IndexWatermark(msgspec.Struct, array_like=True, frozen=True):
    """How far the index reaches."""

    lsn: int
    block: int
    block_hash: Hash32


class TransactionRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A transaction of a block; ``to`` is None for a creation."""

    hash: Hash32
    sender: Address
    to: Address | None


class LogRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A log of a block, by the index of its transaction."""

    tx_index: int
    address: Address
    topics: tuple[Hash32, ...]


class ContractRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A contract that a transaction created."""

    address: Address
    tx_hash: Hash32
    creator: Address


class BlockRows(msgspec.Struct, array_like=True, frozen=True):
    """What the index says of a block; transactions and logs in the block's order."""

    number: int
    hash: Hash32
    transactions: tuple[TransactionRow, ...] = ()
    logs: tuple[LogRow, ...] = ()
    contracts: tuple[ContractRow, ...] = ()

    @property
    def count(self) -> int:
        """How many rows these are."""
        return len(self.transactions) + len(self.logs) + len(self.contracts)


class RowWriter(Protocol):
    """Who changes the database: here (`storage.index.sql`), or a process that does only this. One thread at a time.

    Every method may raise `IndexDamaged`, `IndexLocked`, `IndexUnavailable`, `StorageFull` and `StoragePanic`.
    """

    def prepare(self) -> None:
        """Make the database, or bring its schema up to this program's version. Raises `StoreTooNew`."""

    def write(self, blocks: Sequence[BlockRows], lsn: int) -> IndexWatermark:
        """Replace all rows from the first of these consecutive blocks on by theirs, in one transaction."""

    def write_sessions(self, rows: Sequence[SessionRow], gone: Sequence[int], lsn: int, *, all_: bool) -> None:
        """Replace the rows of these sessions, delete those gone; ``all_``: there are no others than these."""

    def close(self) -> None:
        """Let go of the database; the next call opens it again."""

    def abandon(self) -> None:
        """The program ends: whoever waits for a process gets `IndexUnavailable`. Any thread."""

    def status(self) -> dict[str, Any]:
        """For ``zvmd status``. Any thread."""
