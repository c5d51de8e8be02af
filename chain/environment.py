"""The block environment: the inputs of a block's execution besides its pre-state and its transactions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from chain.fees import blob_base_fee
from chain.forks import CANCUN_BLOBS, BlobSchedule, Fork
from chain.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash32

_blob_base_fee = lru_cache(maxsize=256)(blob_base_fee)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A validator withdrawal (EIP-4895)."""

    index: int
    validator_index: int
    address: Address
    amount: int
    """In gwei."""


@dataclass(frozen=True, slots=True)
class BlockEnvironment:
    """The inputs of a block besides pre-state and transactions: the content of the log's BLOCK_ENV record.

    Fields of later forks keep their defaults under earlier ones.
    """

    fork: Fork
    chain_id: int
    number: int
    timestamp: int
    """Seconds."""
    gas_limit: int
    coinbase: Address = ZERO_ADDRESS
    parent_hash: Hash32 = ZERO_HASH
    base_fee: int = 0
    """Wei per gas; 0 before London."""
    prevrandao: Hash32 = ZERO_HASH
    difficulty: int = 0
    excess_blob_gas: int = 0
    blob_schedule: BlobSchedule = CANCUN_BLOBS
    parent_beacon_root: Hash32 = ZERO_HASH
    """EIP-4788."""
    withdrawals: tuple[Withdrawal, ...] = ()
    extra_data: bytes = b""
    nonce: bytes = bytes(8)
    """Header nonce; zero since the merge."""
    gas_capped: bool = True
    """Property of the chain, not part of the log's record: see `chain.forks.ChainConfig.gas_capped`."""
    blob_base_fee: int | None = None
    """Wei per blob gas in a simulated call that sets it; None in a block, where it follows from the excess blob gas."""

    @property
    def blob_price(self) -> int:
        """Wei per blob gas (EIP-4844)."""
        if self.blob_base_fee is not None:
            return self.blob_base_fee
        return _blob_base_fee(self.excess_blob_gas, self.blob_schedule.base_fee_update_fraction)

