"""Decides what the next block looks like before any transaction is in it: time, fees, limits."""

from __future__ import annotations

import msgspec

from chain import fees
from chain.blocks import Header
from chain.environment import BlockEnvironment
from chain.forks import BlobSchedule, ChainConfig, Fork
from chain.hashing import keccak256
from chain.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash32

EXTRA_DATA = b"zvmd"
TIMESTAMP_MAX = 2**62
"""Seconds; no block is set later than this, so that those after it still fit the 64 bits of a header."""
INTERVAL_MILLISECONDS_MAX = 1000 * 86_400 * 365
"""Longest pause between blocks sealed by the clock."""


class Controls(msgspec.Struct, frozen=True):
    """Settings users change at run time; each change is a COMMAND record, so they survive a crash.

    One value holds from one change to the next: read `Ledger.controls` each time.
    """

    automine: bool = True
    """Seal as soon as a transaction can be executed."""
    interval_milliseconds: int = 0
    """Seal at this interval; 0 is off."""
    time_offset_seconds: int = 0
    """Chain time minus wall-clock time."""
    next_timestamp: int | None = None
    """Timestamp of the next block only."""
    coinbase: bytes = ZERO_ADDRESS
    gas_limit: int = 30_000_000
    timestamp_interval: int | None = None
    """Seconds from block to block, whatever the clock says; None follows the clock."""
    next_base_fee: int | None = None
    """Of the next block only, wei."""
    next_prevrandao: bytes | None = None
    """Of the next block only."""
    impersonated: list[bytes] = []
    """Accounts that may send transactions which nobody signed."""
    impersonate_all: bool = False
    resets: int = 0
    """How often the chain was brought back to its genesis by a reset: each makes it another instance to tools."""


ONE_BLOCK = ("next_timestamp", "next_base_fee", "next_prevrandao")
"""Controls that the next block consumes."""
ROLLED_BACK = (*ONE_BLOCK, "time_offset_seconds", "timestamp_interval", "coinbase", "gas_limit")
"""Controls that a snapshot keeps and a revert brings back."""


def next_environment(
    config: ChainConfig, parent: Header, controls: Controls, now: int, *, timestamp: int | None = None
) -> BlockEnvironment:
    """Environment of the block after ``parent``. ``now`` is the wall clock in seconds.

    ``prevrandao`` is derived from the parent, so that runs can be repeated.
    """
    timestamp = next_timestamp(parent, controls, now, wanted=timestamp)
    number = parent.number + 1
    fork = config.fork_at(number, timestamp)
    schedule = config.blobs_at(timestamp)
    return BlockEnvironment(
        fork=fork,
        chain_id=config.chain_id,
        number=number,
        timestamp=timestamp,
        gas_limit=controls.gas_limit,
        coinbase=Address(controls.coinbase),
        parent_hash=parent.hash,
        base_fee=next_base_fee(parent, fork, controls),
        prevrandao=Hash32(controls.next_prevrandao or keccak256(parent.hash)) if fork >= Fork.PARIS else ZERO_HASH,
        excess_blob_gas=excess_blob_gas_after(parent, schedule, fork) if fork >= Fork.CANCUN else 0,
        blob_schedule=schedule,
        extra_data=EXTRA_DATA,
        gas_capped=config.gas_capped,
    )


def next_timestamp(parent: Header, controls: Controls, now: int, *, wanted: int | None = None) -> int:
    """Timestamp of the block after ``parent``, Unix seconds. Timestamps strictly rise, at `TIMESTAMP_MAX` by one."""
    timestamp = controls.next_timestamp if wanted is None else wanted
    if timestamp is None and controls.timestamp_interval is not None:
        timestamp = parent.timestamp + controls.timestamp_interval
    if timestamp is None:
        timestamp = now + controls.time_offset_seconds
    return max(min(timestamp, TIMESTAMP_MAX), parent.timestamp + 1)


def next_base_fee(parent: Header, fork: Fork, controls: Controls) -> int:
    """Base fee of the block after ``parent``, wei per gas: the one asked for, or that of EIP-1559; 0 before London."""
    if fork < Fork.LONDON:
        return 0
    if controls.next_base_fee is not None:
        return controls.next_base_fee
    if parent.base_fee is None:
        return fees.INITIAL_BASE_FEE
    return fees.next_base_fee(parent.gas_limit, parent.gas_used, parent.base_fee)


def excess_blob_gas_after(parent: Header, schedule: BlobSchedule, fork: Fork) -> int:
    """Excess blob gas of the block after ``parent`` (EIP-4844)."""
    return fees.next_excess_blob_gas(
        parent.excess_blob_gas or 0, parent.blob_gas_used or 0, parent.base_fee or 0, schedule, fork
    )
