"""Every price of execution, by fork: each schedule is the previous fork's with the changes of its EIPs.

Nothing else defines gas. Emitters, routines, host operations, prices shown to debuggers, precompiled contracts and
intrinsic gas read these values. An opcode exists in a fork if the fork's schedule prices it.

Names follow the Yellow Paper (appendix G), EIPs and EVMC. All amounts are gas unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from chain.forks import Fork

WORD_BYTES: Final = 32


class StorageStatus(IntEnum):
    """What an SSTORE does to a slot, as EVMC names it. X, Y and Z are different values that are not zero."""

    ASSIGNED = 0
    """Any other assignment: of the current value, or of a slot that is dirty and stays so."""
    ADDED = 1
    """0 -> 0 -> Z: original, current and new value."""
    DELETED = 2
    """X -> X -> 0"""
    MODIFIED = 3
    """X -> X -> Z"""
    DELETED_ADDED = 4
    """X -> 0 -> Z"""
    MODIFIED_DELETED = 5
    """X -> Y -> 0"""
    DELETED_RESTORED = 6
    """X -> 0 -> X"""
    ADDED_DELETED = 7
    """0 -> Y -> 0"""
    MODIFIED_RESTORED = 8
    """X -> Y -> X"""


def storage_status(original: int, current: int, new: int) -> StorageStatus:
    """The status of assigning ``new`` to a slot; only which of the values are equal or zero matters.

    >>> storage_status(original=0, current=0, new=7)
    <StorageStatus.ADDED: 1>
    """
    status = StorageStatus
    if current == new:
        return status.ASSIGNED
    if original == current:
        if not original:
            return status.ADDED
        return status.MODIFIED if new else status.DELETED
    if not original:
        return status.ASSIGNED if new else status.ADDED_DELETED
    if not current:
        return status.DELETED_RESTORED if new == original else status.DELETED_ADDED
    if not new:
        return status.MODIFIED_DELETED
    return status.MODIFIED_RESTORED if new == original else status.ASSIGNED


class StorageCost(NamedTuple):
    """What an SSTORE costs and by how much it changes the refund counter."""

    gas: int
    refund: int = 0


StorageCosts = tuple[StorageCost, ...]
"""Indexed by `StorageStatus`."""


class Price(NamedTuple):
    """Price of a precompiled contract: ``base + each * units``. The contract defines its unit."""

    base: int
    each: int = 0


class ModexpPrice(NamedTuple):
    """Price of modular exponentiation: ``max(least, complexity * iterations // divisor)``."""

    least: int
    divisor: int
    exponent_byte: int
    """Iterations for each byte of the exponent after the 32nd."""


@dataclass(frozen=True)
class GasSchedule:
    """All prices under one fork. Immutable; the only instances are in `SCHEDULES`."""

    opcodes: Mapping[str, int]
    """What every execution of the opcode pays before anything that depends on operands or state. For accesses that
    are cheaper when warm (EIP-2929) it is the warm price."""
    per_word: Mapping[str, int]
    """By opcode: for each 32-byte word, begun or whole, of the memory it reads or fills."""
    per_byte: Mapping[str, int]
    """By opcode: for each byte of it."""
    exponent_byte: int
    """EXP, for each significant byte of the exponent."""

    memory_word: int
    memory_quadratic_divisor: int

    cold_account: int
    """First access to an account in a transaction (EIP-2929); 0 before Berlin, as the next two."""
    cold_slot: int
    warm_access: int

    sstore: StorageCosts
    """Without what a cold slot costs."""
    sstore_sentry: int
    """SSTORE fails with this much gas or less (EIP-2200); -1: it needs no more than its price."""

    call_value: int
    call_stipend: int
    """Given to the callee of a call with value."""
    call_new_account: int
    call_withheld_divisor: int
    """A caller keeps its gas divided by this (EIP-150); 0: it may give all of it, and asking for more fails."""
    code_deposit_byte: int
    """For each byte of a created contract's code."""
    selfdestruct_new_account: int
    selfdestruct_refund: int

    transaction: int
    creation: int
    """Besides, for a transaction that creates a contract (EIP-2)."""
    zero_byte: int
    """For each byte of a transaction's data that is zero."""
    nonzero_byte: int
    initcode_word: int
    """For each word of a creating transaction's data (EIP-3860)."""
    access_list_address: int
    access_list_slot: int
    authorization: int
    """PER_EMPTY_ACCOUNT_COST (EIP-7702)."""
    authorization_refund: int
    """Given back if the authority exists: PER_EMPTY_ACCOUNT_COST - PER_AUTH_BASE_COST."""
    floor_token: int
    """For each token of data, what a transaction pays at least (EIP-7623); 0 before Prague."""
    nonzero_byte_tokens: int
    """Tokens in a byte that is not zero; a zero byte is one."""
    refund_quotient: int
    """At most this part of the gas spent is refunded: one half, one fifth (EIP-3529)."""

    precompiles: Mapping[str, Price]
    """By name; of all but modexp."""
    modexp: ModexpPrice

    # Dynamic gas. These take facts, not frames, so that the interpreter, the debugger and traces can all call them.

    def memory(self, words: int) -> int:
        """A memory of so many words (Yellow Paper H.1).

        >>> FRONTIER.memory(32)
        98
        """
        return self.memory_word * words + words * words // self.memory_quadratic_divisor

    def sized(self, opcode: str, size: int) -> int:
        """What an opcode pays for ``size`` bytes of memory, besides the memory's own price."""
        return self.per_word.get(opcode, 0) * words_in(size) + self.per_byte.get(opcode, 0) * size

    def exponent(self, exponent: int) -> int:
        """What EXP pays for its exponent."""
        return self.exponent_byte * ((exponent.bit_length() + 7) // 8)

    @property
    def cold_account_extra(self) -> int:
        """What a cold account costs above the warm price that the opcode's row has."""
        return self.cold_account - self.warm_access

    @property
    def cold_slot_extra(self) -> int:
        """The same for SLOAD of a cold slot."""
        return self.cold_slot - self.warm_access

    def delegation(self, *, is_cold: bool) -> int:
        """Access to the account whose code runs for a delegated one (EIP-7702)."""
        return self.cold_account if is_cold else self.warm_access

    def call(self, *, has_value: bool, is_new: bool) -> int:
        """What a call pays for moving value, and for an account that comes into being."""
        return (self.call_value if has_value else 0) + (self.call_new_account if is_new else 0)

    def grantable(self, left: int) -> int:
        """The most gas that a frame which has ``left`` may give to a callee (EIP-150)."""
        return left - left // self.call_withheld_divisor if self.call_withheld_divisor else left


def words_in(size: int) -> int:
    """Words that ``size`` bytes begin or fill.

    >>> words_in(33)
    2
    """
    return (size + WORD_BYTES - 1) // WORD_BYTES


def gross_metering(assign: int, add: int, clear_refund: int) -> StorageCosts:
    """SSTORE where only current and new value count (Yellow Paper): ``add`` for making zero something else."""
    added, assigned, deleted = StorageCost(add), StorageCost(assign), StorageCost(assign, clear_refund)
    # ASSIGNED to MODIFIED_RESTORED, in the order of the statuses.
    return (assigned, added, deleted, assigned, added, deleted, added, deleted, assigned)


def net_metering(dirty: int, add: int, modify: int, clear_refund: int) -> StorageCosts:
    """SSTORE by what the slot held before the transaction (EIP-1283, EIP-2200): ``dirty`` for what changes nothing."""
    refill = -clear_refund
    return (
        StorageCost(dirty),  # ASSIGNED
        StorageCost(add),  # ADDED
        StorageCost(modify, clear_refund),  # DELETED
        StorageCost(modify),  # MODIFIED
        StorageCost(dirty, refill),  # DELETED_ADDED
        StorageCost(dirty, clear_refund),  # MODIFIED_DELETED
        StorageCost(dirty, modify - dirty + refill),  # DELETED_RESTORED
        StorageCost(dirty, add - dirty),  # ADDED_DELETED
        StorageCost(dirty, modify - dirty),  # MODIFIED_RESTORED
    )


# Tiers of the Yellow Paper, appendix G.
_ZERO, _JUMPDEST, _BASE, _VERY_LOW, _LOW, _MID, _HIGH = 0, 1, 2, 3, 5, 8, 10
_SET, _RESET, _CLEAR_REFUND = 20_000, 5_000, 15_000
_COPY_WORD, _KECCAK_WORD, _INITCODE_WORD = 3, 6, 2
_LOG, _LOG_TOPIC = 375, 375


def _priced(price: int, *names: str) -> dict[str, int]:
    return dict.fromkeys(" ".join(names).split(), price)


def _after(previous: GasSchedule, **changes: Any) -> GasSchedule:
    """The previous fork's schedule with changes. Of a table only the entries that change are given."""
    for name, change in changes.items():
        before = getattr(previous, name)
        if isinstance(before, Mapping):
            changes[name] = MappingProxyType({**before, **change})
    return replace(previous, **changes)


FRONTIER: Final = GasSchedule(
    opcodes=MappingProxyType(
        {
            **_priced(_ZERO, "STOP RETURN SSTORE INVALID SELFDESTRUCT"),
            **_priced(_JUMPDEST, "JUMPDEST"),
            **_priced(_BASE, "ADDRESS ORIGIN CALLER CALLVALUE CALLDATASIZE CODESIZE GASPRICE COINBASE TIMESTAMP"),
            **_priced(_BASE, "NUMBER PREVRANDAO GASLIMIT POP PC MSIZE GAS"),
            **_priced(_VERY_LOW, "ADD SUB LT GT SLT SGT EQ ISZERO AND OR XOR NOT BYTE CALLDATALOAD CALLDATACOPY"),
            **_priced(_VERY_LOW, "CODECOPY MLOAD MSTORE MSTORE8", *(f"PUSH{n}" for n in range(1, 33))),
            **_priced(_VERY_LOW, *(f"{name}{n}" for name in ("DUP", "SWAP") for n in range(1, 17))),
            **_priced(_LOW, "MUL DIV SDIV MOD SMOD SIGNEXTEND"),
            **_priced(_MID, "ADDMOD MULMOD JUMP"),
            **_priced(_HIGH, "EXP JUMPI"),
            **_priced(20, "BALANCE EXTCODESIZE EXTCODECOPY BLOCKHASH"),
            **_priced(30, "KECCAK256"),
            **_priced(50, "SLOAD"),
            **{f"LOG{n}": _LOG + n * _LOG_TOPIC for n in range(5)},
            **_priced(40, "CALL CALLCODE"),
            **_priced(32_000, "CREATE"),
        }
    ),
    per_word=MappingProxyType(
        {**_priced(_COPY_WORD, "CALLDATACOPY CODECOPY EXTCODECOPY"), **_priced(_KECCAK_WORD, "KECCAK256")}
    ),
    per_byte=MappingProxyType(_priced(8, *(f"LOG{n}" for n in range(5)))),
    exponent_byte=10,
    memory_word=3,
    memory_quadratic_divisor=512,
    cold_account=0,
    cold_slot=0,
    warm_access=0,
    sstore=gross_metering(_RESET, _SET, _CLEAR_REFUND),
    sstore_sentry=-1,
    call_value=9_000,
    call_stipend=2_300,
    call_new_account=25_000,
    call_withheld_divisor=0,
    code_deposit_byte=200,
    selfdestruct_new_account=0,
    selfdestruct_refund=24_000,
    transaction=21_000,
    creation=0,
    zero_byte=4,
    nonzero_byte=68,
    initcode_word=0,
    access_list_address=0,
    access_list_slot=0,
    authorization=0,
    authorization_refund=0,
    floor_token=0,
    nonzero_byte_tokens=4,
    refund_quotient=2,
    precompiles=MappingProxyType(
        {
            "ecrecover": Price(3_000),
            "sha256": Price(60, 12),
            "ripemd160": Price(600, 120),
            "identity": Price(15, 3),
        }
    ),
    modexp=ModexpPrice(least=0, divisor=20, exponent_byte=8),  # EIP-198, from Byzantium
)

HOMESTEAD: Final = _after(
    FRONTIER,
    opcodes={"DELEGATECALL": 40},  # EIP-7
    creation=32_000,  # EIP-2
)

TANGERINE_WHISTLE: Final = _after(  # EIP-150
    HOMESTEAD,
    opcodes={
        **_priced(700, "EXTCODESIZE EXTCODECOPY CALL CALLCODE DELEGATECALL"),
        "BALANCE": 400, "SLOAD": 200, "SELFDESTRUCT": 5_000,
    },
    call_withheld_divisor=64,
    selfdestruct_new_account=25_000,
)

SPURIOUS_DRAGON: Final = _after(TANGERINE_WHISTLE, exponent_byte=50)  # EIP-160

BYZANTIUM: Final = _after(
    SPURIOUS_DRAGON,
    opcodes={
        "REVERT": _ZERO,  # EIP-140
        "RETURNDATASIZE": _BASE, "RETURNDATACOPY": _VERY_LOW,  # EIP-211
        "STATICCALL": 700,  # EIP-214
    },
    per_word={"RETURNDATACOPY": _COPY_WORD},
    precompiles={  # EIP-196, EIP-197
        "bn254_add": Price(500),
        "bn254_mul": Price(40_000),
        "bn254_pairing": Price(100_000, 80_000),
    },
)

CONSTANTINOPLE: Final = _after(
    BYZANTIUM,
    opcodes={
        **_priced(_VERY_LOW, "SHL SHR SAR"),  # EIP-145
        "CREATE2": 32_000,  # EIP-1014
        "EXTCODEHASH": 400,  # EIP-1052
    },
    per_word={"CREATE2": _KECCAK_WORD},
    sstore=net_metering(200, _SET, _RESET, _CLEAR_REFUND),  # EIP-1283
)

PETERSBURG: Final = _after(CONSTANTINOPLE, sstore=BYZANTIUM.sstore)  # EIP-1716

ISTANBUL: Final = _after(
    PETERSBURG,
    opcodes={
        "CHAINID": _BASE,  # EIP-1344
        "SELFBALANCE": _LOW,  # EIP-1884, as the next
        "SLOAD": 800, "BALANCE": 700, "EXTCODEHASH": 700,
    },
    sstore=net_metering(800, _SET, _RESET, _CLEAR_REFUND),  # EIP-2200
    sstore_sentry=2_300,
    nonzero_byte=16,  # EIP-2028
    precompiles={
        "blake2f": Price(0, 1),  # EIP-152
        "bn254_add": Price(150),  # EIP-1108, as the next two
        "bn254_mul": Price(6_000),
        "bn254_pairing": Price(45_000, 34_000),
    },
)

_WARM, _COLD_SLOT = 100, 2_100

BERLIN: Final = _after(
    ISTANBUL,
    opcodes=_priced(  # EIP-2929
        _WARM,
        "SLOAD BALANCE EXTCODESIZE EXTCODECOPY EXTCODEHASH CALL CALLCODE DELEGATECALL STATICCALL",
    ),
    cold_account=2_600,
    cold_slot=_COLD_SLOT,
    warm_access=_WARM,
    sstore=net_metering(_WARM, _SET, _RESET - _COLD_SLOT, _CLEAR_REFUND),
    access_list_address=2_400,  # EIP-2930
    access_list_slot=1_900,
    modexp=ModexpPrice(least=200, divisor=3, exponent_byte=8),  # EIP-2565
)

LONDON: Final = _after(
    BERLIN,
    opcodes={"BASEFEE": _BASE},  # EIP-3198
    sstore=net_metering(_WARM, _SET, _RESET - _COLD_SLOT, 4_800),  # EIP-3529, as the next two
    selfdestruct_refund=0,
    refund_quotient=5,
)

PARIS: Final = LONDON

SHANGHAI: Final = _after(
    PARIS,
    opcodes={"PUSH0": _BASE},  # EIP-3855
    per_word={"CREATE": _INITCODE_WORD, "CREATE2": _INITCODE_WORD + _KECCAK_WORD},  # EIP-3860
    initcode_word=_INITCODE_WORD,
)

CANCUN: Final = _after(
    SHANGHAI,
    opcodes={
        **_priced(_WARM, "TLOAD TSTORE"),  # EIP-1153
        "BLOBHASH": _VERY_LOW,  # EIP-4844
        "MCOPY": _VERY_LOW,  # EIP-5656
        "BLOBBASEFEE": _BASE,  # EIP-7516
    },
    per_word={"MCOPY": _COPY_WORD},
    precompiles={"kzg_point_evaluation": Price(50_000)},  # EIP-4844
)

PRAGUE: Final = _after(
    CANCUN,
    authorization=25_000,  # EIP-7702
    authorization_refund=12_500,
    floor_token=10,  # EIP-7623
    precompiles={  # EIP-2537
        "bls12_g1add": Price(375),
        "bls12_g1msm": Price(0, 12_000),
        "bls12_g2add": Price(600),
        "bls12_g2msm": Price(0, 22_500),
        "bls12_pairing_check": Price(37_700, 32_600),
        "bls12_map_fp_to_g1": Price(5_500),
        "bls12_map_fp2_to_g2": Price(23_800),
    },
)

OSAKA: Final = _after(
    PRAGUE,
    opcodes={"CLZ": _LOW},  # EIP-7939
    precompiles={"p256verify": Price(6_900)},  # EIP-7951
    modexp=ModexpPrice(least=500, divisor=1, exponent_byte=16),  # EIP-7883
)

SCHEDULES: Final[tuple[GasSchedule, ...]] = (
    *(FRONTIER, HOMESTEAD, TANGERINE_WHISTLE, SPURIOUS_DRAGON, BYZANTIUM, CONSTANTINOPLE, PETERSBURG, ISTANBUL),
    *(BERLIN, LONDON, PARIS, SHANGHAI, CANCUN, PRAGUE, OSAKA),
)
"""Indexed by `Fork`."""

assert len(SCHEDULES) == len(Fork)
