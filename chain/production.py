"""The environment of the next block, from the chain's settings, the parent and the clock."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from chain import fees
from chain.blocks import Header
from chain.environment import BlockEnvironment
from chain.forks import CANCUN, LONDON, PARIS, BlobSchedule, ChainConfig, Fork
from chain.hashing import keccak256
from chain.header_rules import MAX_GAS_LIMIT, MIN_GAS_LIMIT
from chain.types import UINT64_MAX, ZERO_ADDRESS, ZERO_HASH, Address, Hash32

EXTRA_DATA = b"zvmd"
TIMESTAMP_MAX = 2**62
"""Unix seconds; the latest timestamp that can be set, so that later ones still fit the 64 bits of a header."""
INTERVAL_MILLISECONDS_MAX = 1000 * 86_400 * 365
"""Longest interval between blocks sealed by the clock."""


class ChainSettings(msgspec.Struct, frozen=True):
    """Settings of the chain that users change while it runs; each change is a COMMAND record, so they survive a crash.

    A value is true until the next change: code that needs it later is given a callable. `RULES` says more of each.
    """

    automine: bool = True
    """Seal as soon as a transaction can be executed."""
    interval_milliseconds: int = 0
    """Seal at this interval; 0 is off."""
    time_offset_seconds: int = 0
    """Chain time minus wall-clock time."""
    next_timestamp: int | None = None
    """Timestamp of the next block only, Unix seconds."""
    coinbase: bytes = ZERO_ADDRESS
    gas_limit: int = 30_000_000
    timestamp_interval: int | None = None
    """Seconds from block to block, whatever the clock says; None follows the clock."""
    next_base_fee: int | None = None
    """For the next block only, wei per gas."""
    next_prevrandao: bytes | None = None
    """For the next block only."""
    impersonated: list[bytes] = []
    """Accounts that may send transactions which nobody signed."""
    impersonate_all: bool = False
    resets: int = 0
    """How often the chain was brought back to its genesis by a reset: each makes it another instance to tools."""


class Rule(NamedTuple):
    """What the node has to know of a setting besides its type."""

    least: int = 0
    most: int = UINT64_MAX
    """Bounds of a number, both included."""
    since: Fork = Fork.FRONTIER
    """The first fork whose blocks have it."""
    one_block: bool = False
    """The next block consumes it: it is None again afterwards."""
    rolled_back: bool = False
    """A snapshot keeps it, and a revert brings it back."""


RULES = {
    "time_offset_seconds": Rule(rolled_back=True),
    "next_timestamp": Rule(one_block=True, rolled_back=True),
    "coinbase": Rule(rolled_back=True),
    "gas_limit": Rule(MIN_GAS_LIMIT, MAX_GAS_LIMIT, rolled_back=True),
    "timestamp_interval": Rule(rolled_back=True),
    "next_base_fee": Rule(since=Fork.LONDON, one_block=True, rolled_back=True),
    "next_prevrandao": Rule(since=Fork.PARIS, one_block=True, rolled_back=True),
}
"""By name. A setting that is not here has no bounds, is in every fork, and outlives blocks and reverts."""
ONE_BLOCK = tuple(name for name, rule in RULES.items() if rule.one_block)
ROLLED_BACK = tuple(name for name, rule in RULES.items() if rule.rolled_back)


def next_environment(
    config: ChainConfig, parent: Header, settings: ChainSettings, now: int, *, timestamp: int | None = None
) -> BlockEnvironment:
    """Environment of the block after ``parent``. ``now`` is the wall clock in seconds.

    ``prevrandao`` is derived from the parent, so that runs can be repeated.
    """
    timestamp = next_timestamp(parent, settings, now, wanted=timestamp)
    number = parent.number + 1
    fork = config.fork_at(number, timestamp)
    schedule = config.blobs_at(timestamp)
    return BlockEnvironment(
        fork=fork,
        chain_id=config.chain_id,
        number=number,
        timestamp=timestamp,
        gas_limit=settings.gas_limit,
        coinbase=Address(settings.coinbase),
        parent_hash=parent.hash,
        base_fee=next_base_fee(parent, fork, settings),
        prevrandao=Hash32(settings.next_prevrandao or keccak256(parent.hash)) if fork >= PARIS else ZERO_HASH,
        excess_blob_gas=excess_blob_gas_after(parent, schedule, fork) if fork >= CANCUN else 0,
        blob_schedule=schedule,
        extra_data=EXTRA_DATA,
        gas_capped=config.gas_capped,
    )


def next_timestamp(parent: Header, settings: ChainSettings, now: int, *, wanted: int | None = None) -> int:
    """Timestamp of the block after ``parent``, Unix seconds. Timestamps strictly rise, at `TIMESTAMP_MAX` by one."""
    timestamp = settings.next_timestamp if wanted is None else wanted
    if timestamp is None and settings.timestamp_interval is not None:
        timestamp = parent.timestamp + settings.timestamp_interval
    if timestamp is None:
        timestamp = now + settings.time_offset_seconds
    return max(min(timestamp, TIMESTAMP_MAX), parent.timestamp + 1)


def next_base_fee(parent: Header, fork: Fork, settings: ChainSettings) -> int:
    """Base fee of the block after ``parent``, wei per gas: the one asked for, or that of EIP-1559; 0 before London."""
    if fork < LONDON:
        return 0
    if settings.next_base_fee is not None:
        return settings.next_base_fee
    if parent.base_fee is None:
        return fees.INITIAL_BASE_FEE
    return fees.next_base_fee(parent.gas_limit, parent.gas_used, parent.base_fee)


def excess_blob_gas_after(parent: Header, schedule: BlobSchedule, fork: Fork) -> int:
    """Excess blob gas of the block after ``parent`` (EIP-4844)."""
    return fees.next_excess_blob_gas(
        parent.excess_blob_gas or 0, parent.blob_gas_used or 0, parent.base_fee or 0, schedule, fork
    )
