"""The rows of a block in the index, its watermark, and the protocol of what writes them."""

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
    """The rows of one block; transactions and logs are in the block's order."""

    number: int
    hash: Hash32
    transactions: tuple[TransactionRow, ...] = ()
    logs: tuple[LogRow, ...] = ()
    contracts: tuple[ContractRow, ...] = ()

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.transactions) + len(self.logs) + len(self.contracts)


class RowWriter(Protocol):
    """Changes the database, in this process (`storage.index.sql`) or another (`node.indexing`). One thread at a time.

    Every method may raise `IndexDamaged`, `IndexLocked`, `IndexUnavailable`, `StorageFull` and `StoragePanic`.
    """

    def prepare(self) -> None:
        """Create the database, or migrate its schema to this program's version. Raises `StoreTooNew`."""

    def write(self, blocks: Sequence[BlockRows], lsn: int) -> IndexWatermark:
        """Replace all rows from the first of these consecutive blocks on by theirs, in one transaction."""

    def write_sessions(self, rows: Sequence[SessionRow], gone: Sequence[int], lsn: int, *, all_: bool) -> None:
        """Replace the rows of these sessions, delete those gone; ``all_``: also those not among them."""

    def close(self) -> None:
        """Close the database; the next call opens it again."""

    def abandon(self) -> None:
        """Shut down: calls that wait for another process raise `IndexUnavailable`, and so do later ones. Any thread."""

    def status(self) -> dict[str, Any]:
        """State of the writing process, for ``zvmd status``; empty if it is this one. Any thread."""
