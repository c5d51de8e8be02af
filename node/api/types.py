"""The values that the protocols of `node.api` pass: requests, overrides, results, positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from chain.transactions import Authorization, Transaction
from chain.types import Address, Hash32
from node.api.errors import ExecutionFailed, ExecutionReverted

Wait = Literal["accepted", "durable", "mined", "indexed"]
"""How far a transaction must have got before its sender is answered. A crash may lose only ``accepted`` ones."""
PRIORITY_FEE_WEI = 1_000_000_000
"""Default priority fee, wei per gas: blocks of a development chain are never full; wallets expect 1 gwei."""


class Submitted(NamedTuple):
    """A transaction that the node has accepted."""

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
    """Position of a log in the chain, ordered; the resume cursor of event streams."""

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
    """Changes to an account for one call (geth's state overrides)."""

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
    """Result of DIFFICULTY before the merge; after it, ``prevrandao`` is."""
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
    """The fate of a transaction."""

    status: Literal["mined", "waiting", "replaced", "dropped", "reverted", "unknown"]
    reason: str = ""
    """Why it waits, or is in no block."""
    block_number: int | None = None
    """Of the block that has it, or had it until a revert."""
    replaced_by: Hash32 | None = None


class CallResult(NamedTuple):
    """Result of a simulated call. ``halt`` is the name of a `vm.message.Halt` in lower case.

    ``output`` of a creation is the code it would deploy, as in geth.
    """

    success: bool
    reverted: bool
    """Ended by REVERT: ``output`` is the revert data."""
    halt: str
    output: bytes
    gas_used: int
    created: Address | None = None

    def failure(self) -> ExecutionReverted | ExecutionFailed:
        """The error that answers a call that did not succeed."""
        if self.reverted:
            return ExecutionReverted(self.output)
        return ExecutionFailed(f"execution failed: {self.halt.replace('_', ' ')}")
