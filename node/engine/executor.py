"""Runs one block, new or replayed: environment and transactions in; header, receipts and state root out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chain.blocks import Block
from chain.environment import BlockEnvironment
from chain.fees import blob_gas_of
from chain.receipts import Receipt
from chain.state import BlockHashes, StateDelta, StateReader
from chain.transactions import Transaction, decode_transaction, sender_of
from chain.types import Address, Hash32
from storage.blocks.delta import KnownOutcome
from storage.store import SealedBlock
from vm.block import VM_FINGERPRINT, BlockExecution, BlockResult, Listener, build_header
from vm.machine import Machine


class ChainState:
    """What execution needs of the chain below it: the newest state, block hashes, a way to apply a delta."""

    def __init__(
        self,
        reader: Callable[[], StateReader],
        block_hash: BlockHashes,
        apply: Callable[[int, StateDelta], Hash32],
    ) -> None:
        self.reader = reader
        self.block_hash = block_hash
        self.apply = apply


@dataclass(slots=True)
class Candidate:
    """A transaction offered to a block."""

    transaction: Transaction
    sender: Address
    raw: bytes


def candidate_of(raw: bytes) -> Candidate:
    """A transaction of the log; impersonated ones are in it too."""
    transaction = decode_transaction(raw)
    return Candidate(transaction, sender_of(transaction), raw)


class BlockBuilder:
    """A block being filled. Nothing outside changes before `seal`."""

    def __init__(
        self, machine: Machine, environment: BlockEnvironment, state: ChainState, listener: Listener | None = None
    ) -> None:
        self._environment = environment
        self._state = state
        self._execution = BlockExecution(machine, environment, state.reader(), state.block_hash)
        self._execution.listener = listener
        self._execution.begin()
        self.included: list[Candidate] = []
        self.gas_left = environment.gas_limit

    def __len__(self) -> int:
        return len(self.included)

    def nonce(self, sender: Address) -> int:
        """The sender's nonce after the transactions included so far."""
        return self._execution.journal.nonce(sender)

    def has_room(self, transaction: Transaction) -> bool:
        """Whether the block has the gas and the blob gas left that the transaction may use."""
        return transaction.gas_limit <= self.gas_left and blob_gas_of(transaction) <= self._execution.blob_gas_left

    def add(self, candidate: Candidate) -> Receipt:
        """Execute a transaction. Raises InvalidTransaction subclasses, and then the block is as it was."""
        receipt = self._execution.add(candidate.transaction, candidate.sender)
        self.included.append(candidate)
        self.gas_left -= receipt.gas_used
        return receipt

    def finish(self) -> BlockResult:
        """What the block did, with the system calls at its end; nothing can be added afterwards."""
        return self._execution.finish()

    def seal(self) -> SealedBlock:
        """Finish the block and apply it to the state in memory."""
        result = self.finish()
        state_root = self._state.apply(self._environment.number, result.delta)
        transactions = tuple(candidate.transaction for candidate in self.included)
        header = build_header(self._environment, result, state_root, transactions)
        return SealedBlock(
            environment=self._environment,
            block=Block(header, transactions, (), self._environment.withdrawals),
            senders=tuple(candidate.sender for candidate in self.included),
            raws=tuple(candidate.raw for candidate in self.included),
            receipts=tuple(result.receipts),
            vm_fingerprint=VM_FINGERPRINT,
        )


def replay_block(
    machine: Machine,
    environment: BlockEnvironment,
    raws: Sequence[bytes],
    state: ChainState,
    known: KnownOutcome | None = None,
) -> SealedBlock:
    """Run a logged block again, or apply what it is known to have done; the caller compares either with the seal.

    Raises `InvalidTransaction` if a transaction in it cannot be executed.
    """
    if known is not None:
        return _reapply(environment, raws, state, known)
    builder = BlockBuilder(machine, environment, state)
    for raw in raws:
        builder.add(candidate_of(raw))
    return builder.seal()


def _reapply(
    environment: BlockEnvironment, raws: Sequence[bytes], state: ChainState, known: KnownOutcome
) -> SealedBlock:
    transactions = tuple(decode_transaction(raw) for raw in raws)
    result = BlockResult(
        known.delta, list(known.receipts), known.gas_used, known.blob_gas_used, None, known.requests_hash
    )
    header = build_header(environment, result, state.apply(environment.number, known.delta), transactions)
    block = Block(header, transactions, (), environment.withdrawals)
    return SealedBlock(environment, block, known.senders, tuple(raws), known.receipts, VM_FINGERPRINT)
