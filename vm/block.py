"""A block's execution: system calls, transactions, withdrawals, requests; and the header that sums it up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from chain.blocks import (
    Header,
    requests_hash_of,
    transactions_root,
    uncles_hash,
    withdrawals_root,
)
from chain.environment import BlockEnvironment
from chain.fees import GAS_PER_BLOB
from chain.forks import BYZANTIUM, CANCUN, DEPOSIT_CONTRACT, LONDON, PRAGUE, SHANGHAI
from chain.receipts import Log, Receipt, bloom_may_hold, combine_blooms, receipts_root
from chain.state import BlockHashes, StateDelta, StateReader
from chain.transactions import BLOB, Transaction
from chain.types import Address, Hash32
from vm import system
from vm.console import ConsoleCalls
from vm.evm.trace import Tracer
from vm.journal import Journal
from vm.machine import Machine
from vm.transaction import TransactionResult, apply_transaction

VM_FINGERPRINT = "zvmd-vm/2"
"""Version of the execution rules, stored in each seal. It changes when results could change."""


Listener = Callable[[Transaction, TransactionResult, ConsoleCalls], None]


@dataclass(slots=True)
class BlockResult:
    """The result of a block's execution."""

    delta: StateDelta
    receipts: list[Receipt]
    gas_used: int
    blob_gas_used: int
    requests: list[bytes] | None
    """With type bytes, in ascending order; None before Prague (EIP-7685)."""
    requests_hash: Hash32 | None


class BlockExecution:
    """One block under way: `begin`, `add` for each transaction, `finish`."""

    def __init__(
        self,
        machine: Machine,
        environment: BlockEnvironment,
        state: StateReader,
        block_hash: BlockHashes,
        *,
        contracts_required: bool = False,
        deposit_contract: Address = DEPOSIT_CONTRACT,
        root_of: Callable[[StateDelta], Hash32] | None = None,
        listener: Listener | None = None,
    ) -> None:
        """``contracts_required``: refuse to `finish` without Prague's request contracts, as mainnet does.

        ``root_of`` gives the state root after changes over ``state``: before Byzantium receipts hold it. ``listener``
        hears how each transaction of `add` ended, on the thread that adds it; console.log is collected for it.
        """
        self.environment = environment
        self.journal = Journal(state, environment.fork)
        self.receipts: list[Receipt] = []
        self.gas_used = 0
        self.blob_gas_used = 0
        self._machine = machine
        self._block_hash = block_hash
        self._contracts_required = contracts_required
        self._deposit_contract = deposit_contract
        self._root_of = root_of
        schedule = environment.blob_schedule
        self._blob_gas_limit = schedule.max * GAS_PER_BLOB
        self._listener = listener
        self._blob_price = environment.blob_price

    def begin(self) -> None:
        """The system calls before the first transaction."""
        system.begin_block(self._machine, self.environment, self._block_hash, self.journal)

    @property
    def blob_gas_left(self) -> int:
        """Blob gas that further transactions may use."""
        return self._blob_gas_limit - self.blob_gas_used

    def add(self, tx: Transaction, sender: Address, *, is_checked: bool = False) -> Receipt:
        """Execute a transaction. Raises `InvalidTransaction` or `PrecompileUnavailable`, nothing changed.

        ``is_checked``: `chain.validity.check_static` has accepted it under the block's rules.
        """
        console = None if self._listener is None else ConsoleCalls()
        result = self.run(tx, sender, console=console, is_checked=is_checked)
        if console is not None and self._listener is not None:
            self._listener(tx, result, console)
        receipt = self._receipt(tx, result)
        self.receipts.append(receipt)
        return receipt

    def run(
        self,
        tx: Transaction,
        sender: Address,
        tracer: Tracer | None = None,
        console: ConsoleCalls | None = None,
        *,
        is_checked: bool = False,
    ) -> TransactionResult:
        """`add` without a receipt, heard by a tracer: for blocks that are run again, never finished."""
        result = apply_transaction(
            self._machine,
            self.environment,
            self._block_hash,
            self.journal,
            tx,
            sender,
            block_gas_left=self.environment.gas_limit - self.gas_used,
            blob_gas_left=self.blob_gas_left,
            tracer=tracer,
            console=console,
            is_checked=is_checked,
        )
        self.gas_used += result.gas_used
        self.blob_gas_used += result.blob_gas_used
        return result

    def _receipt(self, tx: Transaction, result: TransactionResult) -> Receipt:
        is_blob = tx.type == BLOB
        has_status = self.environment.fork >= BYZANTIUM  # EIP-658
        post_state = None if has_status or self._root_of is None else self._root_of(self.journal.delta())
        return Receipt(
            type=tx.type,
            status=int(result.outcome.success) if has_status else None,
            post_state=post_state,
            cumulative_gas_used=self.gas_used,
            recorded=result.recorded_logs,
            gas_used=result.gas_used,
            effective_gas_price=result.effective_gas_price,
            contract_address=result.contract_address,
            blob_gas_used=result.blob_gas_used if is_blob else None,
            blob_gas_price=self._blob_price if is_blob else None,
        )

    def _logs_of(self, address: Address) -> Iterator[Log]:
        """The logs of receipts whose bloom says that there may be one of this contract."""
        for receipt in self.receipts:
            if receipt.recorded and bloom_may_hold(receipt.bloom, address):
                yield from receipt.logs

    def finish(self, rewards: Iterable[tuple[Address, int]] = ()) -> BlockResult:
        """Withdrawals, requests, and all changes of the block. ``rewards`` (wei): of blocks before the merge.

        Raises `SystemCallFailed`, `SystemContractMissing` or `InvalidDepositLog`: such a block is invalid.
        """
        environment = self.environment
        withdrawals = [(w.address, w.amount * system.WEI_PER_GWEI) for w in environment.withdrawals]
        amounts = [*rewards, *withdrawals]
        if amounts:
            system.pay_out(self.journal, amounts)
        requests = None
        if environment.fork >= PRAGUE:
            requests = system.collect_requests(
                self._machine,
                environment,
                self._block_hash,
                self.journal,
                self._logs_of(self._deposit_contract),
                contracts_required=self._contracts_required,
                deposit_contract=self._deposit_contract,
            )
        return BlockResult(
            self.journal.delta(),
            self.receipts,
            self.gas_used,
            self.blob_gas_used,
            requests,
            None if requests is None else requests_hash_of(requests),
        )


def build_header(
    environment: BlockEnvironment,
    result: BlockResult,
    state_root: Hash32,
    transactions: Sequence[Transaction],
    uncles: Sequence[Header] = (),
) -> Header:
    """The header of an executed block; fields of later forks stay None."""
    fork = environment.fork
    cancun = fork >= CANCUN
    return Header(
        parent_hash=environment.parent_hash,
        uncles_hash=uncles_hash(uncles),
        coinbase=environment.coinbase,
        state_root=state_root,
        transactions_root=transactions_root(transactions),
        receipts_root=receipts_root(result.receipts),
        bloom=combine_blooms(receipt.bloom for receipt in result.receipts if receipt.recorded),
        difficulty=environment.difficulty,
        number=environment.number,
        gas_limit=environment.gas_limit,
        gas_used=result.gas_used,
        timestamp=environment.timestamp,
        extra_data=environment.extra_data,
        prevrandao=environment.prevrandao,
        nonce=environment.nonce,
        base_fee=environment.base_fee if fork >= LONDON else None,
        withdrawals_root=withdrawals_root(environment.withdrawals) if fork >= SHANGHAI else None,
        blob_gas_used=result.blob_gas_used if cancun else None,
        excess_blob_gas=environment.excess_blob_gas if cancun else None,
        parent_beacon_root=environment.parent_beacon_root if cancun else None,
        requests_hash=result.requests_hash,
    )
