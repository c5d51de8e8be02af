"""What the protocol side needs of a node: the port between ``node/rpc``, ``node/wire`` and ``node/engine``.

Reads are plain functions, safe on any thread, answering only from what is durable and published; the
dispatcher runs them on its reader threads. Anything that writes or waits is a coroutine of the node's event
loop. Every function raises subclasses of `chain.errors.ZvmdError`; nothing else may leave it but a bug.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from chain.forks import ChainConfig
from chain.state import StateReader
from chain.types import Address, Hash32
from node.rpc.errors import ExecutionFailed, ExecutionReverted, RpcError
from storage.following import FoundLog, LogQuery
from storage.rewinds import Rewinds

if TYPE_CHECKING:
    from chain.blocks import Block, Header
    from chain.receipts import Receipt
    from chain.transactions import Authorization, Transaction
    from node.rpc.pending_block import BlockAt, PendingBlock
    from node.tracers.registry import MakeTracer
    from storage.state.proof import AccountProof

Wait = Literal["accepted", "durable", "mined", "indexed"]
"""How far a transaction must have come before its sender is answered. Only ``accepted`` may be lost by a crash."""
PRIORITY_FEE_WEI = 1_000_000_000
"""The tip where the sender names none: blocks of a development chain are never full; 1 gwei is what wallets expect."""


class Submitted(NamedTuple):
    """A transaction the node will not forget."""

    hash: Hash32
    lsn: int
    """Log position of the record that holds it; durable when this is returned."""
    block_number: int | None
    """None while it waits in the pool."""


class TransactionLocation(NamedTuple):
    """Where a mined transaction is."""

    block_number: int
    transaction_index: int


class PendingTransaction(NamedTuple):
    """A transaction that waits in the pool."""

    transaction: Transaction
    sender: Address


class LogPosition(NamedTuple):
    """Place of a log in the chain, ordered; the resume cursor of event streams."""

    block_number: int
    log_index: int
    """Counted over the whole block."""


@dataclass(slots=True)
class CallFields:
    """The fields of a transaction object as users give them (``eth_call``, ``eth_sendTransaction``); None =
    not given.
    """

    sender: Address | None = None
    to: Address | None = None
    """None creates a contract."""
    data: bytes = b""
    value: int = 0
    gas: int | None = None
    gas_price: int | None = None
    max_fee_per_gas: int | None = None
    max_priority_fee_per_gas: int | None = None
    max_fee_per_blob_gas: int | None = None
    nonce: int | None = None
    type: int | None = None
    chain_id: int | None = None
    access_list: tuple[tuple[Address, tuple[int, ...]], ...] | None = None
    blob_versioned_hashes: tuple[Hash32, ...] | None = None
    authorization_list: tuple[Authorization, ...] | None = None


@dataclass(slots=True)
class AccountOverride:
    """What an account shall look like during one call (geth's state overrides)."""

    balance: int | None = None
    nonce: int | None = None
    code: bytes | None = None
    state: dict[int, int] | None = None
    """Replaces the whole storage."""
    state_diff: dict[int, int] = field(default_factory=dict)
    """Sets single slots."""
    move_precompile_to: Address | None = None
    """The account is a precompiled contract, which answers at this address instead."""


@dataclass(slots=True)
class BlockOverrides:
    """Block fields replaced during one call."""

    number: int | None = None
    difficulty: int | None = None
    """What DIFFICULTY gives before the merge; after it, that is ``prevrandao``."""
    timestamp: int | None = None
    gas_limit: int | None = None
    coinbase: Address | None = None
    prevrandao: Hash32 | None = None
    base_fee: int | None = None
    blob_base_fee: int | None = None
    """Wei per blob gas."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """All overrides of one call."""

    accounts: Mapping[Address, AccountOverride] = field(default_factory=dict)
    block: BlockOverrides | None = None


class TransactionFate(NamedTuple):
    """What became of a transaction."""

    status: Literal["mined", "waiting", "replaced", "dropped", "reverted", "unknown"]
    reason: str = ""
    """Why it waits, or is in no block."""
    block_number: int | None = None
    """Of the block that has it, or had it until a revert."""
    replaced_by: Hash32 | None = None


class CallResult(NamedTuple):
    """What a simulated call came to. ``halt`` is the name of `vm.message.Halt` in lower case.

    ``output`` of a creation is the code it would deploy, as in geth.
    """

    success: bool
    reverted: bool
    """Ended by REVERT: ``output`` is the revert data."""
    halt: str
    output: bytes
    gas_used: int
    created: Address | None = None

    def failure(self) -> RpcError:
        """What one that did not succeed is answered with."""
        if self.reverted:
            return ExecutionReverted(self.output)
        return ExecutionFailed(f"execution failed: {self.halt.replace('_', ' ')}")


class Backend(Protocol):
    """A running node, seen from the protocols."""

    # What it is
    @property
    def config(self) -> ChainConfig:
        """Chain id and forks."""

    @property
    def client_version(self) -> str:
        """Like ``zvmd/v0.1.0/linux-x86_64/python3.11``."""

    @property
    def web3_version(self) -> str:
        """What ``web3_clientVersion`` answers."""

    def resets(self) -> int:
        """How often the chain was brought back to its genesis by a reset."""

    def status(self) -> dict[str, Any]:
        """For ``zvmd_status``: JSON-ready counters, positions (head, durable LSN, checkpoint, index
        watermark), jobs.
        """

    def accounts(self) -> Sequence[Address]:
        """Accounts the node holds keys of; empty unless started with ``--dev``."""

    # Blocks. Numbers are those of blocks that exist: the callers have resolved them.
    def head(self) -> Header:
        """Header of the newest durable block. Must be cheap (an attribute read)."""

    def header(self, number: int) -> Header | None: ...

    def block(self, number: int) -> Block | None: ...

    def receipts(self, number: int) -> Sequence[Receipt] | None: ...

    def senders(self, number: int) -> Sequence[Address] | None:
        """Senders of the block's transactions, in order."""

    def block_size(self, number: int) -> int | None:
        """Length of the block's RLP, bytes."""

    def number_of(self, block_hash: Hash32) -> int | None: ...

    def transaction_location(self, transaction_hash: Hash32) -> TransactionLocation | None: ...

    def logs(self, query: LogQuery) -> Sequence[FoundLog]: ...

    def pending(self) -> PendingBlock:
        """What the next block would be, from the pool and the clock. Each call may give another one: ask once."""

    # State
    def view(self, at: BlockAt) -> StateReader:
        """State after that block. Raises StateUnavailable (a ZvmdError) outside retention."""

    def call(self, fields: CallFields, at: BlockAt, overrides: Overrides | None = None) -> CallResult:
        """Simulate by the rules of ``eth_call``. Raises InvalidTransaction subclasses where geth refuses."""

    def estimate_gas(self, fields: CallFields, at: BlockAt, overrides: Overrides | None = None) -> int | CallResult:
        """Smallest sufficient gas limit, or the failed result when no gas limit helps."""

    def prove(self, at: BlockAt, address: Address, slots: Sequence[int]) -> AccountProof:
        """Merkle proof in the state after that block (EIP-1186). Raises StateUnavailable."""

    def trace_call(
        self,
        fields: CallFields,
        at: BlockAt,
        overrides: Overrides | None,
        make: MakeTracer,
        index: int | None = None,
    ) -> Any:
        """What a tracer says of a simulated call after a block, or before its transaction ``index``."""

    def trace_block(self, at: BlockAt, make: MakeTracer, index: int | None = None) -> list[Any]:
        """What tracers say of a block's transactions, run again; of one only with ``index``."""

    # Pool and fees
    def pending_nonce(self, address: Address) -> int:
        """Next nonce counting pooled transactions."""

    def fate(self, transaction_hash: Hash32) -> TransactionFate:
        """What became of a transaction: mined, waiting and why, or why it is in no block."""

    def pending_transaction(self, transaction_hash: Hash32) -> PendingTransaction | None: ...

    def pending_transactions(self) -> Sequence[PendingTransaction]: ...

    def arrivals(self) -> AsyncIterator[list[PendingTransaction]]:
        """Transactions as they come into the pool from now on, each before its block is shown. On the event loop."""

    def next_base_fee(self) -> int:
        """Base fee of the block after the head, wei."""

    def blob_base_fee(self, number: int) -> int:
        """Price of blob gas in that block, wei; ``head + 1`` is allowed."""

    def fees_after(self, header: Header) -> tuple[int, int]:
        """Base fee and price of blob gas, wei, that follow from a block by EIP-1559 and EIP-4844 for the next one."""

    # Writing. Coroutines of the node's event loop.
    async def submit(self, raw: bytes, wait: Wait = "durable") -> Submitted:
        """Admit a signed transaction (network form) and return when it is durable, or mined."""

    async def send_from(self, fields: CallFields, wait: Wait = "durable") -> Submitted:
        """Complete (nonce, gas, fees, type), sign with the key of ``fields.sender`` and submit."""

    def fill(self, fields: CallFields) -> Transaction:
        """The unsigned transaction that `send_from` would sign: nonce, gas, fees and type are filled in."""

    def sign_filled(self, fields: CallFields) -> Transaction:
        """`fill`, signed with the key of ``fields.sender``. Raises UnknownAccount."""

    def sign(self, address: Address, digest: Hash32) -> tuple[int, int, int]:
        """(y parity, r, s) with a dev account's key. Raises UnknownAccount (a ZvmdError)."""

    async def mine(self, count: int = 1, interval: int = 0, key: str = "") -> int:
        """Seal ``count`` blocks, ``interval`` seconds apart in chain time if not 0. Returns the head's
        number. The same ``key`` again: the number answered then, and nothing is sealed.
        """

    async def set_automine(self, enabled: bool, key: str = "") -> None: ...

    async def set_interval_mining(self, seconds: float, key: str = "") -> None:
        """0 switches interval sealing off."""

    def published_lsn(self) -> int:
        """Everything in the log up to here is durable and seen by reads."""

    async def wait_for_lsn(self, lsn: int) -> None:
        """Return once `published_lsn` is at least ``lsn``."""

    def automine(self) -> bool: ...

    async def wait_for_block(self, number: int, rewinds: int | None = None) -> int:
        """Return the head's number once it is at least ``number``. Event streams are built on this.

        Also returns as soon as the chain was brought back more often than ``rewinds`` times.
        """

    def rewinds(self) -> Rewinds:
        """How far development calls brought the chain back since the node started."""

    async def cheat(self, name: str, *arguments: Any, key: str = "") -> int | str | bool | None:
        """Do a development call (``node/engine/cheats.py``). The same ``key`` again: the answer given then, and
        nothing is done.
        """
