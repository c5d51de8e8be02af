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


class Controls(msgspec.Struct):
    """Settings users change at run time; each change is a COMMAND record, so they survive a crash."""

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


def next_environment(
    config: ChainConfig, parent: Header, controls: Controls, now: int, *, timestamp: int | None = None
) -> BlockEnvironment:
    """Environment of the block after ``parent``. ``now`` is the wall clock in seconds.

    Timestamps strictly rise. ``prevrandao`` is derived from the parent, so that runs can be repeated.
    """
    if timestamp is None:
        timestamp = controls.next_timestamp or now + controls.time_offset_seconds
    timestamp = max(timestamp, parent.timestamp + 1)
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
        base_fee=base_fee_after(parent) if fork >= Fork.LONDON else 0,
        prevrandao=Hash32(keccak256(parent.hash)) if fork >= Fork.PARIS else ZERO_HASH,
        excess_blob_gas=excess_blob_gas_after(parent, schedule, fork) if fork >= Fork.CANCUN else 0,
        blob_schedule=schedule,
        extra_data=EXTRA_DATA,
    )


def base_fee_after(parent: Header) -> int:
    """Base fee of the block after ``parent``, wei per gas; the initial one if it had none (EIP-1559)."""
    if parent.base_fee is None:
        return fees.INITIAL_BASE_FEE
    return fees.next_base_fee(parent.gas_limit, parent.gas_used, parent.base_fee)


def excess_blob_gas_after(parent: Header, schedule: BlobSchedule, fork: Fork) -> int:
    """Excess blob gas of the block after ``parent`` (EIP-4844)."""
    return fees.next_excess_blob_gas(
        parent.excess_blob_gas or 0, parent.blob_gas_used or 0, parent.base_fee or 0, schedule, fork
    )
