"""Forks in order, and which of them a chain follows at a block number and time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from chain.types import Address


class Fork(IntEnum):
    """Execution-layer forks that change execution, oldest first; comparing them with ``<`` is meaningful."""

    FRONTIER = 0
    HOMESTEAD = 1
    TANGERINE_WHISTLE = 2
    SPURIOUS_DRAGON = 3
    BYZANTIUM = 4
    CONSTANTINOPLE = 5
    PETERSBURG = 6
    ISTANBUL = 7
    BERLIN = 8
    LONDON = 9
    PARIS = 10
    SHANGHAI = 11
    CANCUN = 12
    PRAGUE = 13
    OSAKA = 14


FRONTIER: Final = Fork.FRONTIER
HOMESTEAD: Final = Fork.HOMESTEAD
SPURIOUS_DRAGON: Final = Fork.SPURIOUS_DRAGON
BYZANTIUM: Final = Fork.BYZANTIUM
BERLIN: Final = Fork.BERLIN
LONDON: Final = Fork.LONDON
PARIS: Final = Fork.PARIS
SHANGHAI: Final = Fork.SHANGHAI
CANCUN: Final = Fork.CANCUN
PRAGUE: Final = Fork.PRAGUE
OSAKA: Final = Fork.OSAKA
"""For what each transaction compares: in Python 3.11 naming a member through its class takes 0.2 us."""

LATEST_FORK = Fork.OSAKA

CODE_BYTES_MAX = 24_576
"""Longest code of a contract (EIP-170, from Spurious Dragon)."""


@dataclass(frozen=True, slots=True)
class BlobSchedule:
    """Blob parameters from some time on (EIP-7840, EIP-7892)."""

    target: int
    """Blobs per block aimed at."""
    max: int
    """Blobs per block allowed."""
    base_fee_update_fraction: int


CANCUN_BLOBS = BlobSchedule(target=3, max=6, base_fee_update_fraction=3_338_477)
PRAGUE_BLOBS = BlobSchedule(target=6, max=9, base_fee_update_fraction=5_007_716)

BPO_BLOBS = (
    BlobSchedule(target=10, max=15, base_fee_update_fraction=8_346_193),
    BlobSchedule(target=14, max=21, base_fee_update_fraction=11_684_671),
    BlobSchedule(target=21, max=32, base_fee_update_fraction=20_609_697),
    BlobSchedule(target=14, max=21, base_fee_update_fraction=13_739_630),
    BlobSchedule(target=14, max=21, base_fee_update_fraction=13_739_630),
)
"""Blob-parameter-only forks 1 to 5 as the test vectors define them (EIP-7892); mainnet has the first two."""

DEPOSIT_CONTRACT = Address(bytes.fromhex("00000000219ab540356cbb839cbe05303d7705fa"))
"""Mainnet's."""


BOMB_DELAYS = (*[0] * 4, 3_000_000, *[5_000_000] * 3, 9_000_000, 9_700_000, *[0] * 5)
"""Blocks by which each fork has delayed the difficulty bomb in total: EIP-649, 1234, 2384 and 3554."""
GLACIERS: tuple[tuple[str, int], ...] = (
    ("muirGlacierBlock", 9_000_000),
    ("arrowGlacierBlock", 10_700_000),
    ("grayGlacierBlock", 11_400_000),
)
"""Forks that did nothing but delay the bomb, and the total delay from then on (EIP-2384, 4345, 5133)."""


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """Identity of a chain and the points at which its forks begin.

    ``block_forks`` holds (first block number, fork), ``time_forks`` (first timestamp, fork) and
    ``blob_forks`` (first timestamp, schedule), each ascending. Time forks win over block forks once active.
    """

    chain_id: int
    block_forks: tuple[tuple[int, Fork], ...] = ((0, Fork.FRONTIER),)
    time_forks: tuple[tuple[int, Fork], ...] = ()
    blob_forks: tuple[tuple[int, BlobSchedule], ...] = ()
    deposit_contract: Address = DEPOSIT_CONTRACT
    """Whose logs are deposit requests (EIP-6110)."""
    bomb_delays: tuple[tuple[int, int], ...] = ()
    """(First block number, delay in blocks), ascending: forks that only delay the difficulty bomb."""
    dao_fork: int | None = None
    """Block number of the DAO fork; None on chains without it (`chain.dao`)."""
    dao_support: bool = False
    """Whether the chain supports the DAO fork."""
    gas_capped: bool = True
    """Whether a transaction's gas is capped from Osaka on (EIP-7825); development chains may go without."""
    code_bytes_max: int = CODE_BYTES_MAX
    """Longest code of a contract; creation code may be twice as long. Development chains may have another limit."""

    def fork_at(self, number: int, timestamp: int) -> Fork:
        """The fork whose rules govern the block with this number and timestamp."""
        fork = FRONTIER
        for first_number, candidate in self.block_forks:
            if number >= first_number and candidate > fork:
                fork = candidate
        for first_timestamp, candidate in self.time_forks:
            if timestamp >= first_timestamp and candidate > fork:
                fork = candidate
        return fork

    def blobs_at(self, timestamp: int) -> BlobSchedule:
        """Blob parameters at this timestamp; Cancun's before any entry applies."""
        schedule = CANCUN_BLOBS
        for first_timestamp, candidate in self.blob_forks:
            if timestamp >= first_timestamp:
                schedule = candidate
        return schedule

    def bomb_delay_at(self, number: int) -> int:
        """Blocks by which the difficulty bomb is late at this block number."""
        delay = BOMB_DELAYS[self.fork_at(number, 0)]
        for first_number, candidate in self.bomb_delays:
            if number >= first_number:
                delay = max(delay, candidate)
        return delay

    @classmethod
    def all_at_genesis(
        cls,
        chain_id: int,
        fork: Fork = LATEST_FORK,
        blobs: BlobSchedule | None = None,
        *,
        gas_capped: bool = True,
    ) -> ChainConfig:
        """A chain that follows ``fork`` from its genesis on, as development chains do; its ``blobs`` by default."""
        blobs = blobs or (CANCUN_BLOBS if fork == Fork.CANCUN else PRAGUE_BLOBS)
        return cls(
            chain_id,
            block_forks=tuple((0, f) for f in Fork if f <= min(fork, Fork.PARIS)),
            time_forks=tuple((0, f) for f in Fork if Fork.PARIS < f <= fork),
            blob_forks=((0, blobs),) if fork >= Fork.CANCUN else (),
            gas_capped=gas_capped,
        )
