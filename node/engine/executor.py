"""Runs one block, new or replayed: environment and transactions in; header, receipts and state root out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chain.environment import BlockEnvironment
from chain.fees import blob_gas_of
from chain.forks import Fork
from chain.receipts import Receipt
from chain.state import BlockHashes, StateDelta, StateReader
from chain.transactions import BLOB, Transaction, decode_transaction, sender_of
from chain.types import Address, Hash32
from storage.applied import AppliedChain
from storage.blocks.delta import KnownOutcome
from storage.sealed import SealedBlock, SealedTransaction
from vm.block import VM_FINGERPRINT, BlockExecution, BlockResult, Listener, build_header
from vm.machine import Machine


class BlockBuilder:
    """A block being filled. It changes nothing else before `seal`."""

    def __init__(
        self,
        machine: Machine,
        environment: BlockEnvironment,
        state: StateReader,
        block_hash: BlockHashes,
        listener: Listener | None = None,
    ) -> None:
        """``state`` is the pre-state of the block; ``listener`` gets the result of each transaction."""
        self._environment = environment
        self._execution = BlockExecution(machine, environment, state, block_hash, listener=listener)
        self._execution.begin()
        self.rows: list[SealedTransaction] = []
        self.gas_left = environment.gas_limit

    def __len__(self) -> int:
        return len(self.rows)

    def nonce(self, sender: Address) -> int:
        """The sender's nonce after the transactions included so far."""
        return self._execution.journal.nonce(sender)

    def has_room(self, transaction: Transaction) -> bool:
        """Whether the block has enough gas and blob gas left for the transaction."""
        if transaction.gas_limit > self.gas_left:
            return False
        return transaction.type != BLOB or blob_gas_of(transaction) <= self._execution.blob_gas_left

    def add(self, transaction: Transaction, sender: Address, raw: bytes, checked: Fork | None = None) -> Receipt:
        """Execute a transaction. Raises InvalidTransaction subclasses, and then the block is as it was.

        ``checked``: the fork under which `chain.validity.check_static` has accepted it on this chain.
        """
        receipt = self._execution.add(transaction, sender, is_checked=checked is self._environment.fork)
        self.rows.append(SealedTransaction(transaction, sender, raw, receipt))
        self.gas_left -= receipt.gas_used
        return receipt

    def finish(self) -> BlockResult:
        """Run the system calls at the block's end and return its result; nothing can be added afterwards."""
        return self._execution.finish()

    def seal(self, apply: Callable[[StateDelta], Hash32]) -> SealedBlock:
        """Finish the block and ``apply`` what it changes, which gives the state root."""
        return _sealed(self._environment, self.finish(), self.rows, apply)


def replay_block(
    machine: Machine,
    environment: BlockEnvironment,
    raws: Sequence[bytes],
    chain: AppliedChain,
    known: KnownOutcome | None = None,
) -> SealedBlock:
    """Execute a logged block again, or apply its logged delta; the caller compares the result with the seal.

    Raises `InvalidTransaction` if a transaction in it cannot be executed.
    """
    if known is not None:
        return _reapply(environment, raws, chain, known)
    builder = BlockBuilder(machine, environment, chain.newest_state(), chain.block_hash)
    for raw in raws:
        transaction = decode_transaction(raw)
        builder.add(transaction, sender_of(transaction), raw)
    return builder.seal(chain.apply_delta)


def _reapply(
    environment: BlockEnvironment, raws: Sequence[bytes], chain: AppliedChain, known: KnownOutcome
) -> SealedBlock:
    rows = [
        SealedTransaction(decode_transaction(raw), sender, raw, receipt)
        for raw, sender, receipt in zip(raws, known.senders, known.receipts, strict=True)
    ]
    receipts, gas, blob_gas = list(known.receipts), known.gas_used, known.blob_gas_used
    result = BlockResult(known.delta, receipts, gas, blob_gas, None, known.requests_hash)
    return _sealed(environment, result, rows, chain.apply_delta)


def _sealed(
    environment: BlockEnvironment,
    result: BlockResult,
    rows: Sequence[SealedTransaction],
    apply: Callable[[StateDelta], Hash32],
) -> SealedBlock:
    transactions = tuple(row.transaction for row in rows)
    header = build_header(environment, result, apply(result.delta), transactions)
    return SealedBlock(environment, header, tuple(rows), VM_FINGERPRINT)
