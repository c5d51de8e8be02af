"""The cost of a frame's next opcode, and why it fails, computed before it runs, for traces and debuggers.

Execution itself does not use this; tests hold the two against each other. The order of the checks is that of the
execution specification: operands, gas, then what is forbidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from chain.forks import CODE_BYTES_MAX, Fork
from chain.gas_schedule import SCHEDULES, storage_status, words_in
from chain.types import Address
from vm.code import Code
from vm.delegation import delegation_target
from vm.evm.frame import Frame
from vm.evm.layout import Field
from vm.evm.opcodes import Opcode, opcodes
from vm.journal import Journal
from vm.limits import STACK_ITEMS
from vm.message import Halt

_REACH: Final = 17
"""Most stack words that an opcode reads."""
MEMORY_OPERANDS: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "KECCAK256": ((0, 1),),
    "CALLDATACOPY": ((0, 2),),
    "CODECOPY": ((0, 2),),
    "RETURNDATACOPY": ((0, 2),),
    "EXTCODECOPY": ((1, 3),),
    "MCOPY": ((0, 2), (1, 2)),
    "CREATE": ((1, 2),),
    "CREATE2": ((1, 2),),
    "CALL": ((3, 4), (5, 6)),
    "CALLCODE": ((3, 4), (5, 6)),
    "DELEGATECALL": ((2, 3), (4, 5)),
    "STATICCALL": ((2, 3), (4, 5)),
    "RETURN": ((0, 1),),
    "REVERT": ((0, 1),),
    **{f"LOG{topics}": ((0, 1),) for topics in range(5)},
}
"""Operands, counted from the top, that hold offset and size of memory used. What is paid by size is by the first."""
FIXED_MEMORY: Final = {"MLOAD": 32, "MSTORE": 32, "MSTORE8": 1}
_CALLS: Final = frozenset({"CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"})
_VALUE_CALLS: Final = frozenset({"CALL", "CALLCODE"})
_WRITES: Final = frozenset(
    {"SSTORE", "TSTORE", "CREATE", "CREATE2", "SELFDESTRUCT", *(f"LOG{n}" for n in range(5))}
)


@dataclass(slots=True)
class Prospect:
    """The cost and the outcome of the next opcode."""

    opcode: Opcode | None
    """None if the byte is not an opcode of the fork."""
    byte: int
    gas: int = 0
    """Price, with what is given along to a call, without what a creation takes along; 0 if it is never asked."""
    refund: int = 0
    """By how much the refund counter changes when the price is asked, even if it cannot be paid."""
    failure: Halt | None = None
    """The exceptional halt it ends in, if that is known before it runs."""


class Pricing:
    """Prices under one fork, over the journal of one transaction."""

    def __init__(self, fork: Fork, journal: Journal, code_bytes_max: int = CODE_BYTES_MAX) -> None:
        """``code_bytes_max`` is the chain's (`chain.forks.ChainConfig`)."""
        self.fork = fork
        self.journal = journal
        self.code_bytes_max = code_bytes_max
        self._gas = SCHEDULES[fork]
        self._opcodes = opcodes(fork)

    def look(self, frame: Frame) -> Prospect:
        """The prospect of a frame's next opcode."""
        code, pc = frame.code, frame.pc
        byte = code.padded[pc] if pc < code.length else 0
        row = self._opcodes.get(byte)
        prospect = Prospect(row, byte)
        if row is None or row.name == "INVALID":
            prospect.failure = Halt.INVALID_OPCODE
            return prospect
        stack = frame.stack(_REACH)[::-1]
        is_shuffle = 0x80 <= byte <= 0x9F
        if len(stack) < row.pops and not is_shuffle:
            prospect.failure = Halt.STACK_UNDERFLOW
            return prospect
        left = frame.gas
        if row.name == "SSTORE":
            if left <= self._gas.sstore_sentry:
                prospect.failure = Halt.OUT_OF_GAS
                return prospect
            prospect.gas, prospect.refund = self._sstore(frame.message.to, stack[0], stack[1])
        else:
            prospect.gas = row.gas if is_shuffle else self._price(row, frame, stack)
            if row.name == "SELFDESTRUCT" and not self.journal.is_self_destructed(frame.message.to):
                prospect.refund = self._gas.selfdestruct_refund
        prospect.failure = (
            Halt.OUT_OF_GAS if prospect.gas > left else self._forbidden(row, frame, stack, code)
        )
        return prospect

    def _forbidden(self, row: Opcode, frame: Frame, stack: Sequence[int], code: Code) -> Halt | None:
        """The halt of an opcode that has been paid for."""
        name = row.name
        if len(stack) < row.pops:
            return Halt.STACK_UNDERFLOW
        if frame.depth - row.pops + row.pushes > STACK_ITEMS:
            return Halt.STACK_OVERFLOW
        if name in ("CREATE", "CREATE2") and self.fork >= Fork.SHANGHAI and stack[2] > 2 * self.code_bytes_max:
            return Halt.OUT_OF_GAS
        if frame.message.is_static and (name in _WRITES or (name == "CALL" and stack[2])):
            return Halt.STATIC_VIOLATION
        if name == "RETURNDATACOPY" and stack[1] + stack[2] > len(frame.returndata):
            return Halt.RETURN_DATA_OUT_OF_BOUNDS
        if (name == "JUMP" or (name == "JUMPI" and stack[1])) and not code.is_jump_destination(stack[0]):
            return Halt.INVALID_JUMP
        return None

    def _price(self, row: Opcode, frame: Frame, stack: Sequence[int]) -> int:
        name, ranges = row.name, MEMORY_OPERANDS.get(row.name, ())
        price = row.gas + self._memory(name, stack, frame.words[Field.MEMORY_SIZE])
        if name in _CALLS:
            return self._call(name, price, frame, stack)
        if ranges:
            price += self._gas.sized(name, stack[ranges[0][1]])
        rule = _RULES.get(name)
        return price if rule is None else price + rule(self, frame, stack)

    def _memory(self, name: str, stack: Sequence[int], size: int) -> int:
        """To extend a memory of ``size`` bytes as the opcode needs it."""
        end = _memory_end(name, stack)
        return self._gas.memory(words_in(end)) - self._gas.memory(words_in(size)) if end > size else 0

    def _cold(self, address: Address) -> bool:
        return self.fork >= Fork.BERLIN and not self.journal.is_warm_account(address)

    def _account(self, _: Frame, stack: Sequence[int]) -> int:
        return self._gas.cold_account_extra if self._cold(_address(stack[0])) else 0

    def _call(self, name: str, price: int, frame: Frame, stack: Sequence[int]) -> int:
        """Price of a call with the gas given along; ``price`` is that of access and memory."""
        gas, target = self._gas, _address(stack[1])
        if self._cold(target):
            price += gas.cold_account_extra
        delegate = self.delegate_of(target)
        if delegate is not None:
            price += gas.delegation(is_cold=delegate != target and self._cold(delegate))
        value = stack[2] if name in _VALUE_CALLS else 0
        is_new = name == "CALL" and self.journal.would_be_new(target, value)
        price += gas.call(has_value=value > 0, is_new=is_new)
        wanted, left = stack[0], frame.gas - price
        if left >= 0 and gas.call_withheld_divisor:
            wanted = min(wanted, gas.grantable(left))
        return price + wanted

    def delegate_of(self, address: Address) -> Address | None:
        """The account whose code runs for this one (EIP-7702); None without delegation."""
        return delegation_target(self.journal.code(address)) if self.fork >= Fork.PRAGUE else None

    def _selfdestruct(self, frame: Frame, stack: Sequence[int]) -> int:
        gas, heir = self._gas, _address(stack[0])
        is_new = self.journal.would_be_new(heir, self.journal.balance(frame.message.to))
        return (gas.cold_account if self._cold(heir) else 0) + (gas.selfdestruct_new_account if is_new else 0)

    def _sload(self, frame: Frame, stack: Sequence[int]) -> int:
        return self._gas.cold_slot_extra if self._is_cold_slot(frame.message.to, stack[0]) else 0

    def _is_cold_slot(self, address: Address, slot: int) -> bool:
        return self.fork >= Fork.BERLIN and not self.journal.is_warm_slot(address, slot)

    def _sstore(self, address: Address, slot: int, value: int) -> tuple[int, int]:
        """Price and refund of SSTORE."""
        original, current = self.journal.peek_storage(address, slot)
        cost = self._gas.sstore[storage_status(original, current, value)]
        return cost.gas + (self._gas.cold_slot if self._is_cold_slot(address, slot) else 0), cost.refund

    def _exp(self, _: Frame, stack: Sequence[int]) -> int:
        return self._gas.exponent(stack[1])


_RULES: Final[dict[str, Callable[[Pricing, Frame, Sequence[int]], int]]] = {
    **dict.fromkeys(("BALANCE", "EXTCODESIZE", "EXTCODECOPY", "EXTCODEHASH"), Pricing._account),
    "EXP": Pricing._exp,
    "SLOAD": Pricing._sload,
    "SELFDESTRUCT": Pricing._selfdestruct,
}
"""Gas above the table's price, and what is paid by size."""


def _memory_end(name: str, stack: Sequence[int]) -> int:
    """Where the memory that an opcode uses ends; 0 if it uses none."""
    if name in FIXED_MEMORY:
        return stack[0] + FIXED_MEMORY[name]
    ends = [stack[offset] + stack[length] for offset, length in MEMORY_OPERANDS.get(name, ()) if stack[length]]
    return max(ends, default=0)


def _address(word: int) -> Address:
    return Address((word & (2**160 - 1)).to_bytes(20, "big"))
