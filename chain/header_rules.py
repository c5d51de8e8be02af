"""Rules for a header on top of its parent, by fork: the checks that do not need the block's body.

Proof of work and the beacon chain's attestations are not verified: an import trusts its source for them.
"""

from __future__ import annotations

from chain.blocks import EMPTY_UNCLES_HASH, Header
from chain.dao import EXTRA_DATA, EXTRA_DATA_BLOCKS
from chain.difficulty import next_difficulty
from chain.errors import InvalidHeader
from chain.fees import (
    ELASTICITY_MULTIPLIER,
    GAS_PER_BLOB,
    INITIAL_BASE_FEE,
    next_base_fee,
    next_excess_blob_gas,
)
from chain.forks import ChainConfig, Fork

GAS_LIMIT_BOUND_DIVISOR = 1_024
MIN_GAS_LIMIT = 5_000
MAX_GAS_LIMIT = 2**63 - 1
MAX_EXTRA_DATA_BYTES = 32

FIELDS_SINCE: tuple[tuple[str, Fork], ...] = (
    ("base_fee", Fork.LONDON),
    ("withdrawals_root", Fork.SHANGHAI),
    ("blob_gas_used", Fork.CANCUN),
    ("excess_blob_gas", Fork.CANCUN),
    ("parent_beacon_root", Fork.CANCUN),
    ("requests_hash", Fork.PRAGUE),
)
"""Header fields that exist from a fork on, and not before."""


def check_header(header: Header, parent: Header, config: ChainConfig) -> None:
    """Raise `InvalidHeader` for the first field that cannot follow the parent."""
    fork = config.fork_at(header.number, header.timestamp)
    _check_place(header, parent)
    for field, since in FIELDS_SINCE:
        if (getattr(header, field) is not None) != (fork >= since):
            raise InvalidHeader(field, f"exists from {since.name.title()} on, this is {fork.name.title()}")
    if len(header.extra_data) > MAX_EXTRA_DATA_BYTES:
        raise InvalidHeader(
            "extra_data", f"{len(header.extra_data)} bytes, the limit is {MAX_EXTRA_DATA_BYTES}"
        )
    _check_dao(header, config)
    _check_gas(header, parent, fork)
    _check_seal(header, parent, config, fork)
    if fork >= Fork.CANCUN:
        _check_blob_gas(header, parent, config, fork)


def _check_place(header: Header, parent: Header) -> None:
    if header.parent_hash != parent.hash:
        raise InvalidHeader(
            "parent_hash", f"0x{header.parent_hash.hex()}, the parent is 0x{parent.hash.hex()}"
        )
    if header.number != parent.number + 1:
        raise InvalidHeader("number", f"{header.number} after {parent.number}")
    if header.timestamp <= parent.timestamp:
        raise InvalidHeader("timestamp", f"{header.timestamp} s, the parent's is {parent.timestamp} s")


def _check_dao(header: Header, config: ChainConfig) -> None:
    """Both sides of the DAO fork mark their first blocks, so that neither follows the other (EIP-779)."""
    if config.dao_fork is None or not 0 <= header.number - config.dao_fork < EXTRA_DATA_BLOCKS:
        return
    if (header.extra_data == EXTRA_DATA) != config.dao_support:
        raise InvalidHeader("extra_data", "the block took the other side of the DAO fork than this chain")


def _check_gas(header: Header, parent: Header, fork: Fork) -> None:
    parent_limit = parent.gas_limit
    begins_london = fork >= Fork.LONDON and parent.base_fee is None
    if begins_london:
        parent_limit *= ELASTICITY_MULTIPLIER
    if abs(header.gas_limit - parent_limit) >= parent_limit // GAS_LIMIT_BOUND_DIVISOR:
        raise InvalidHeader("gas_limit", f"{header.gas_limit} is too far from the parent's {parent_limit}")
    if not MIN_GAS_LIMIT <= header.gas_limit <= MAX_GAS_LIMIT:
        raise InvalidHeader("gas_limit", f"{header.gas_limit} is not in [{MIN_GAS_LIMIT}, {MAX_GAS_LIMIT}]")
    if header.gas_used > header.gas_limit:
        raise InvalidHeader("gas_used", f"{header.gas_used} of at most {header.gas_limit}")
    if fork >= Fork.LONDON:
        expected = INITIAL_BASE_FEE
        if parent.base_fee is not None:
            expected = next_base_fee(parent.gas_limit, parent.gas_used, parent.base_fee)
        if header.base_fee != expected:
            raise InvalidHeader("base_fee", f"{header.base_fee} wei instead of {expected} wei")


def _check_seal(header: Header, parent: Header, config: ChainConfig, fork: Fork) -> None:
    """The difficulty; after the merge also that the proof-of-work fields are zero (EIP-3675)."""
    if fork < Fork.PARIS:
        expected = next_difficulty(config, header.number, header.timestamp, parent)
        if header.difficulty != expected:
            raise InvalidHeader("difficulty", f"{header.difficulty} instead of {expected}")
        return
    if header.difficulty:
        raise InvalidHeader("difficulty", f"{header.difficulty} after the merge")
    if any(header.nonce):
        raise InvalidHeader("nonce", f"0x{header.nonce.hex()} after the merge")
    if header.uncles_hash != EMPTY_UNCLES_HASH:
        raise InvalidHeader("uncles_hash", "uncles after the merge")


def _check_blob_gas(header: Header, parent: Header, config: ChainConfig, fork: Fork) -> None:
    schedule = config.blobs_at(header.timestamp)
    used = header.blob_gas_used or 0
    if used % GAS_PER_BLOB or used > schedule.max * GAS_PER_BLOB:
        raise InvalidHeader("blob_gas_used", f"{used}: not up to {schedule.max} whole blobs")
    expected = next_excess_blob_gas(
        parent.excess_blob_gas or 0, parent.blob_gas_used or 0, parent.base_fee or 0, schedule, fork
    )
    if header.excess_blob_gas != expected:
        raise InvalidHeader("excess_blob_gas", f"{header.excess_blob_gas} instead of {expected}")
