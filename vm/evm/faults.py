"""Why a message failed, in the words of geth's ``core/vm/errors.go`` that other tools match on.

The checks before an opcode runs are in the order of geth's ``core/vm/interpreter.go``: stack, constant gas, overflow of
the memory's size, then the price. Geth 1.17 adds numbers to "max code size exceeded" and "out of gas: " before "write
protection" where earlier versions do not; the words here are those of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from chain.forks import Fork
from chain.gas_schedule import SCHEDULES
from vm.evm.frame import Frame
from vm.evm.opcodes import BY_NAME, Opcode, opcodes
from vm.evm.pricing import FIXED_MEMORY, MEMORY_OPERANDS, Pricing
from vm.limits import STACK_ITEMS
from vm.message import Halt

OUT_OF_GAS: Final = "out of gas"
CODE_STORE_OUT_OF_GAS: Final = "contract creation code storage out of gas"
REVERTED: Final = "execution reverted"
_WORDS: Final = {
    Halt.REVERT: REVERTED,
    Halt.OUT_OF_GAS: OUT_OF_GAS,
    Halt.INVALID_JUMP: "invalid jump destination",
    Halt.STATIC_VIOLATION: "write protection",
    Halt.RETURN_DATA_OUT_OF_BOUNDS: "return data out of bounds",
    Halt.CODE_TOO_LARGE: "max code size exceeded",
    Halt.CODE_STARTS_WITH_EF: "invalid code: must not begin with 0xef",
    Halt.CREATE_COLLISION: "contract address collision",
    Halt.PRECOMPILE_FAILURE: "precompiled failed",
    Halt.CALL_TOO_DEEP: "max call depth exceeded",
    Halt.INSUFFICIENT_BALANCE: "insufficient balance for transfer",
    Halt.NONCE_OVERFLOW: "nonce uint64 overflow",
}
"""Halts whose words need nothing of the frame."""
_AFTER_THE_PRICE: Final = (Halt.STATIC_VIOLATION, Halt.RETURN_DATA_OUT_OF_BOUNDS)
"""What native code may find before it finds that the price cannot be paid; geth looks at the price first."""
_OVERFLOW: Final = "gas uint64 overflow"
_UINT64: Final = 2**64
_MEMORY_MAX: Final = 0x1FFFFFFFE0
"""Bytes of memory for which geth computes a price."""
_NAMES: Final = {row.byte: row.name for row in BY_NAME.values()} | {
    0x44: "DIFFICULTY",
    0x4B: "SLOTNUM",
    0xE6: "DUPN",
    0xE7: "SWAPN",
    0xE8: "EXCHANGE",
}
"""Names of opcodes of any fork, those of coming ones too, as geth writes them."""


def opcode_name(byte: int) -> str:
    """Geth's name of an opcode, whether or not the fork has it.

    >>> opcode_name(0x0c)
    'opcode 0xc not defined'
    """
    return _NAMES.get(byte) or f"opcode {byte:#x} not defined"


def words_of(halt: Halt) -> str:
    """The words for a halt that no frame has to be looked at for."""
    return _WORDS[halt]


class Refusal(NamedTuple):
    """Why an opcode does not run, found before its price is."""

    words: str
    cost: int
    """Gas that geth shows as the opcode's cost."""


def refusal(pricing: Pricing, row: Opcode, stack: Sequence[int], height: int, left: int) -> Refusal | None:
    """What geth refuses an opcode for before its price is known; ``stack`` has the top first, ``left`` is gas."""
    fork, code_bytes_max = pricing.fork, pricing.code_bytes_max
    constant = _constant_gas(fork, row)
    if height < row.pops:
        return Refusal(f"stack underflow ({height} <=> {row.pops})", constant)
    limit = STACK_ITEMS + row.pops - row.pushes
    if height > limit:
        return Refusal(f"stack limit reached {height} ({limit})", constant)
    if left < constant:
        return Refusal(OUT_OF_GAS, constant)
    end = _memory_end(row.name, stack)
    if end >= _UINT64:
        return Refusal(_OVERFLOW, constant)
    words = None
    if end > _MEMORY_MAX:
        words = _OVERFLOW
    elif row.name == "SSTORE" and left <= SCHEDULES[fork].sstore_sentry:
        words = "not enough gas for reentrancy sentry"
    elif row.name in ("CREATE", "CREATE2") and fork >= Fork.SHANGHAI and stack[2] > 2 * code_bytes_max:
        words = f"max initcode size exceeded: code size {stack[2]} limit {2 * code_bytes_max}"
    return None if words is None else Refusal(f"{OUT_OF_GAS}: {words}", constant)


def _constant_gas(fork: Fork, row: Opcode) -> int:
    """The part of the price that geth takes before it looks at operands."""
    is_dynamic = row.name in _ALL_DYNAMIC or (row.name == "SLOAD" and fork >= Fork.BERLIN)
    is_dynamic |= row.name == "SELFDESTRUCT" and fork < Fork.BERLIN
    return 0 if is_dynamic else row.gas


_ALL_DYNAMIC: Final = frozenset(("EXP", *(f"LOG{n}" for n in range(5))))


def _memory_end(name: str, stack: Sequence[int]) -> int:
    """Size of memory an opcode asks for, or 2**64 if one of its numbers is not a uint64 (geth's calcMemSize64)."""
    if name in FIXED_MEMORY:
        return stack[0] + FIXED_MEMORY[name]
    ends = [0]
    for offset, length in MEMORY_OPERANDS.get(name, ()):
        if stack[length] >= _UINT64:
            return _UINT64
        ends.append(stack[offset] + stack[length] if stack[length] else 0)
    return max(ends)


def fault_words(pricing: Pricing, frame: Frame, halt: Halt, host_opcode: int | None) -> str:
    """Why a frame failed. The frame is as the failed opcode left it.

    Native code gives an opcode up before it changes anything; ``host_opcode`` is the byte of one that Python gave up,
    whose operands are still there above the top.
    """
    if halt in _AFTER_THE_PRICE and pricing.look(frame).failure is Halt.OUT_OF_GAS:
        halt = Halt.OUT_OF_GAS
    if halt in _WORDS and halt is not Halt.OUT_OF_GAS:
        return _WORDS[halt]
    row = opcodes(pricing.fork).get(host_opcode if host_opcode is not None else _byte_at(frame))
    if halt is Halt.INVALID_OPCODE or row is None:
        return f"invalid opcode: {opcode_name(_byte_at(frame))}"
    given = 0 if host_opcode is None else row.pops - row.pushes
    found = refusal(pricing, row, frame.operands(row.pops, given), frame.depth + given, frame.gas)
    return OUT_OF_GAS if found is None else found.words


def _byte_at(frame: Frame) -> int:
    return frame.code.padded[frame.pc] if frame.pc < frame.code.length else 0
