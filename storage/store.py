"""One chain on one disk: the log, the state, the blocks and the index behind a single door.

The writer thread applies and appends; the committer thread syncs and publishes; a checkpoint thread and an index thread
follow behind. Readers see only published blocks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from chain.blocks import Block, Header
from chain.environment import BlockEnvironment
from chain.receipts import Receipt, receipts_root
from chain.state import StateDelta, StateReader
from chain.types import ZERO_HASH, Address, Hash32
from storage.chaindata import ChainData
from storage.checkpoint import write_checkpoint
from storage.index import Index
from storage.kv import KeyValueStore
from storage.state.store import StateStore
from storage.wal import Wal
from storage.wal.records import RecordType, Seal, encode_environment, encode_seal


@dataclass(frozen=True, slots=True)
class SealedBlock:
    """An executed block, applied to the state in memory and ready for the log."""

    environment: BlockEnvironment
    block: Block
    senders: tuple[Address, ...]
    raws: tuple[bytes, ...]
    """Signed transactions as they came."""
    receipts: tuple[Receipt, ...]
    vm_fingerprint: str

    def seal(self) -> Seal:
        """The outcome the log records, against which every replay is checked."""
        header = self.block.header
        return Seal(
            block_hash=header.hash,
            state_root=header.state_root,
            receipts_root=header.receipts_root,
            gas_used=header.gas_used,
            status_bits=bytes(receipt.status or 0 for receipt in self.receipts),
            vm_fingerprint=self.vm_fingerprint,
        )


class TransactionPlace(NamedTuple):
    """Where a mined transaction is."""

    block_number: int
    index: int


class Store:
    """See the module. Made by `storage.opening.open_store`."""

    def __init__(self, wal: Wal, kv: KeyValueStore, state: StateStore, chain: ChainData, index: Index) -> None:
        self.wal = wal
        self.kv = kv
        self.state = state
        self.chain = chain
        self.index = index
        self.settings: dict[str, Any] = {}
        """Values of COMMAND records, by name."""
        self.needed_lsn: int | None = None
        """Oldest record recovery still needs besides those after the checkpoint."""
        self._seal_lsns: deque[tuple[int, int]] = deque()
        self._places: dict[Hash32, TransactionPlace] = {}
        self._checkpoint_lock = threading.Lock()

    # Writer thread

    def tip_state(self) -> StateReader:
        """State after the newest applied block."""
        return self.state.view(self.tip.number)

    def apply(self, number: int, delta: StateDelta) -> Hash32:
        """Apply a block's changes in memory; returns the state root."""
        return self.state.apply(number, delta)
