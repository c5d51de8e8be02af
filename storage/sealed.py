"""An executed block on its way into the log: its rows, its outcome, and the records that replay it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from chain.blocks import Block, Header
from chain.environment import BlockEnvironment
from chain.receipts import Receipt
from chain.state import StateDelta
from chain.transactions import Transaction
from chain.types import Address
from storage.blocks.delta import encode_delta
from storage.wal.records import RecordType, Seal, encode_environment, encode_seal

_TRANSACTION: Final = RecordType.TRANSACTION


class SealedTransaction(NamedTuple):
    """A transaction of a block, and what became of it."""

    transaction: Transaction
    sender: Address
    raw: bytes
    """The signed transaction as it came; an impersonated one as `chain.transactions.impersonate` encodes it."""
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class SealedBlock:
    """An executed block, applied to the state in memory and ready for the log."""

    environment: BlockEnvironment
    header: Header
    rows: tuple[SealedTransaction, ...]
    """In the order of execution."""
    vm_fingerprint: str

    @property
    def block(self) -> Block:
        """Header and transactions as the chain keeps them."""
        transactions = tuple(row.transaction for row in self.rows)
        return Block(self.header, transactions, (), self.environment.withdrawals)

    def seal(self) -> Seal:
        """The outcome the log records, against which every replay is checked."""
        header = self.header
        return Seal(
            block_hash=header.hash,
            state_root=header.state_root,
            receipts_root=header.receipts_root,
            gas_used=header.gas_used,
            status_bits=status_bits(self.rows),
            vm_fingerprint=self.vm_fingerprint,
        )

    def records(self) -> Iterator[tuple[RecordType, bytes]]:
        """Type and payload of the records before the seal: the block's environment, then its transactions."""
        yield RecordType.BLOCK_ENV, encode_environment(self.environment)
        for row in self.rows:
            yield _TRANSACTION, row.raw

    def delta_record(self, delta: StateDelta) -> bytes:
        """Payload of the optional BLOCK_DELTA record between transactions and seal; ``delta`` is what the block did."""
        receipts, senders = [row.receipt for row in self.rows], [row.sender for row in self.rows]
        return encode_delta(delta, receipts, senders, self.header)

    def seal_record(self) -> bytes:
        """Payload of the BLOCK_SEAL record, the block's last."""
        return encode_seal(self.seal())


def status_bits(rows: tuple[SealedTransaction, ...]) -> bytes:
    """Bit i, from the lowest of the first byte on: transaction i succeeded."""
    bits = sum(bool(row.receipt.status) << index for index, row in enumerate(rows))
    return bits.to_bytes((len(rows) + 7) // 8, "little")
