"""Gas numbers that are not in the opcode table: dynamic parts, refunds, stipends, by fork."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chain.forks import Fork

MEMORY_WORD: Final = 3
MEMORY_QUADRATIC_DIVISOR: Final = 512
COPY_WORD: Final = 3
KECCAK_WORD: Final = 6
LOG_BYTE: Final = 8
INITCODE_WORD: Final = 2
"""EIP-3860, from Shanghai."""
CODE_DEPOSIT_BYTE: Final = 200

CALL_VALUE: Final = 9_000
CALL_STIPEND: Final = 2_300
NEW_ACCOUNT: Final = 25_000

COLD_ACCOUNT_EXTRA: Final = 2_500
"""Above the warm 100 the opcode table charges (EIP-2929)."""
COLD_ACCOUNT: Final = 2_600
COLD_SLOT: Final = 2_100
COLD_SLOT_EXTRA: Final = 2_000
WARM_ACCESS: Final = 100

SSTORE_SET: Final = 20_000
SSTORE_RESET: Final = 5_000
SSTORE_SENTRY: Final = 2_300
"""SSTORE needs more gas than this (EIP-1706 in EIP-2200)."""
SSTORE_CLEAR_REFUND: Final = 15_000
SSTORE_CLEAR_REFUND_LONDON: Final = 4_800
"""EIP-3529."""
SELFDESTRUCT_REFUND: Final = 24_000
"""Before London."""


@dataclass(frozen=True, slots=True)
class NetMetering:
    """Numbers of net gas metering for SSTORE (EIP-1283, 2200, 2929, 3529)."""

    no_change: int
    """Also for slots already changed in this transaction."""
    reset: int
    clear_refund: int


def exp_byte(fork: Fork) -> int:
    """Gas per significant byte of an exponent (EIP-160)."""
    return 50 if fork >= Fork.SPURIOUS_DRAGON else 10


def net_metering(fork: Fork) -> NetMetering | None:
    """How SSTORE is metered, or None where only the old and the new value count."""
    if fork >= Fork.LONDON:
        return NetMetering(WARM_ACCESS, SSTORE_RESET - COLD_SLOT, SSTORE_CLEAR_REFUND_LONDON)
    if fork == Fork.BERLIN:
        return NetMetering(WARM_ACCESS, SSTORE_RESET - COLD_SLOT, SSTORE_CLEAR_REFUND)
    if fork == Fork.ISTANBUL:
        return NetMetering(800, SSTORE_RESET, SSTORE_CLEAR_REFUND)
    if fork == Fork.CONSTANTINOPLE:
        return NetMetering(200, SSTORE_RESET, SSTORE_CLEAR_REFUND)
    return None


def memory_cost(words: int) -> int:
    """Gas of a memory of that many words (Yellow Paper H.1).

    >>> memory_cost(32)
    98
    """
    return MEMORY_WORD * words + words * words // MEMORY_QUADRATIC_DIVISOR
