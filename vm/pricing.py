"""What the next opcode of a frame costs and why it fails, told before it runs: for traces and debuggers.

Execution itself does not use this; tests hold the two against each other. The order of the checks is that of the
execution specification: operands, gas, then what is forbidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chain.forks import Fork
from chain.types import Address
from vm.code import Code
from vm.delegation import delegation_target
from vm.evm import gas
from vm.evm.layout import Field
from vm.evm.opcodes import Opcode, opcodes
from vm.journal import Journal
from vm.limits import INITCODE_BYTES, STACK_ITEMS
from vm.message import Halt

if TYPE_CHECKING:
    from vm.evm.frame import Frame

_WORD: Final = 32
_REACH: Final = 17
"""Words of the stack any opcode looks at."""
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
"""Operands, counted from the top, that hold offset and size of memory used."""
FIXED_MEMORY: Final = {"MLOAD": 32, "MSTORE": 32, "MSTORE8": 1}
_COPIES: Final = {"CALLDATACOPY": 2, "CODECOPY": 2, "RETURNDATACOPY": 2, "EXTCODECOPY": 3, "MCOPY": 2}
_ACCOUNTS: Final = {"BALANCE": 0, "EXTCODESIZE": 0, "EXTCODECOPY": 0, "EXTCODEHASH": 0}
_CALLS: Final = frozenset({"CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"})
_VALUE_CALLS: Final = frozenset({"CALL", "CALLCODE"})
_WRITES: Final = frozenset(
    {"SSTORE", "TSTORE", "CREATE", "CREATE2", "SELFDESTRUCT", *(f"LOG{n}" for n in range(5))}
)


@dataclass(slots=True)
class Prospect:
    """What is about to happen."""

    opcode: Opcode | None
    """None if the byte is no opcode of the fork."""
    byte: int
    gas: int = 0
    """Price, with what is given along to a call, without what a creation takes along; 0 if it is never asked."""
    refund: int = 0
    """By how much the refund counter changes when the price is asked, even if it cannot be paid."""
    failure: Halt | None = None
    """The exceptional halt it ends in, if that can be told before."""


class Pricing:
    """Prices under one fork, over the journal of one transaction."""

    def __init__(self, fork: Fork, journal: Journal) -> None:
        self.fork = fork
        self.journal = journal
        self._opcodes = opcodes(fork)

    def look(self, frame: Frame) -> Prospect:
        """The prospect of a frame's next opcode."""
        code, pc = frame.code, frame.pc
        byte = code.bytes[pc] if pc < code.length else 0
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
            if self.fork >= Fork.ISTANBUL and left <= gas.SSTORE_SENTRY:
                prospect.failure = Halt.OUT_OF_GAS
                return prospect
            prospect.gas, prospect.refund = self._sstore(frame.message.to, stack[0], stack[1])
        else:
            prospect.gas = row.gas if is_shuffle else self._gas(row, frame, stack)
            if row.name == "SELFDESTRUCT" and self.fork < Fork.LONDON:
                is_first = not self.journal.is_self_destructed(frame.message.to)
                prospect.refund = gas.SELFDESTRUCT_REFUND if is_first else 0
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
        if name in ("CREATE", "CREATE2") and self.fork >= Fork.SHANGHAI and stack[2] > INITCODE_BYTES:
            return Halt.OUT_OF_GAS
        if frame.message.is_static and (name in _WRITES or (name == "CALL" and stack[2])):
            return Halt.STATIC_VIOLATION
        if name == "RETURNDATACOPY" and stack[1] + stack[2] > len(frame.returndata):
            return Halt.RETURN_DATA_OUT_OF_BOUNDS
        if (name == "JUMP" or (name == "JUMPI" and stack[1])) and not code.is_jump_destination(stack[0]):
            return Halt.INVALID_JUMP
        return None

    def _gas(self, row: Opcode, frame: Frame, stack: Sequence[int]) -> int:
        name = row.name
        price = row.gas + _memory_gas(name, stack, frame.words[Field.MEMORY_SIZE])
        if name in _CALLS:
            return self._call(name, price, frame, stack)
        if name in _COPIES:
            price += gas.COPY_WORD * _words(stack[_COPIES[name]])
        if name in _ACCOUNTS:
            return price + self._cold(_address(stack[_ACCOUNTS[name]]), gas.COLD_ACCOUNT_EXTRA)
        rule = _RULES.get(name)
        return price if rule is None else price + rule(self, frame, stack)

    def _cold(self, address: Address, extra: int) -> int:
        is_cold = self.fork >= Fork.BERLIN and not self.journal.is_warm_account(address)
        return extra if is_cold else 0

    def _call(self, name: str, price: int, frame: Frame, stack: Sequence[int]) -> int:
        """Price of a call with the gas given along; ``price`` is that of access and memory."""
        journal, target = self.journal, _address(stack[1])
        price += self._cold(target, gas.COLD_ACCOUNT_EXTRA)
        delegate = self.delegate_of(target)
        if delegate is not None:
            is_warm = delegate == target or journal.is_warm_account(delegate)
            price += gas.WARM_ACCESS if is_warm else gas.COLD_ACCOUNT
        value = stack[2] if name in _VALUE_CALLS else 0
        price += gas.CALL_VALUE if value else 0
        if name == "CALL" and self._is_new(target, value):
            price += gas.NEW_ACCOUNT
        wanted, left = stack[0], frame.gas - price
        if left >= 0 and self.fork >= Fork.TANGERINE_WHISTLE:
            wanted = min(wanted, left - left // 64)
        return price + wanted

    def delegate_of(self, address: Address) -> Address | None:
        """The account whose code runs for this one (EIP-7702); None without delegation."""
        return delegation_target(self.journal.code(address)) if self.fork >= Fork.PRAGUE else None

    def _is_new(self, address: Address, value: int) -> bool:
        """Whether sending this value brings an account into being (EIP-161)."""
        if self.fork >= Fork.SPURIOUS_DRAGON:
            return bool(value) and self.journal.account(address).is_empty
        return not self.journal.exists(address)

    def _selfdestruct(self, frame: Frame, stack: Sequence[int]) -> int:
        heir = _address(stack[0])
        price = self._cold(heir, gas.COLD_ACCOUNT)
        is_new = self._is_new(heir, self.journal.balance(frame.message.to))
        return price + (gas.NEW_ACCOUNT if is_new and self.fork >= Fork.TANGERINE_WHISTLE else 0)

    def _sload(self, frame: Frame, stack: Sequence[int]) -> int:
        is_cold = self.fork >= Fork.BERLIN and not self.journal.is_warm_slot(frame.message.to, stack[0])
        return gas.COLD_SLOT_EXTRA if is_cold else 0

    def _sstore(self, address: Address, slot: int, value: int) -> tuple[int, int]:
        """Price and refund of SSTORE (EIP-2200, 2929, 3529)."""
        journal, metering = self.journal, gas.net_metering(self.fork)
        original, current = journal.peek_storage(address, slot)
        if metering is None:
            price = gas.SSTORE_SET if value and not current else gas.SSTORE_RESET
            return price, gas.SSTORE_CLEAR_REFUND if current and not value else 0
        price = gas.COLD_SLOT if self.fork >= Fork.BERLIN and not journal.is_warm_slot(address, slot) else 0
        if value == current:
            return price + metering.no_change, 0
        if original == current:
            refund = metering.clear_refund if original and not value else 0
            return price + (metering.reset if original else gas.SSTORE_SET), refund
        refund = metering.clear_refund * ((value == 0) - (current == 0)) if original else 0
        if original == value:
            refund += (metering.reset if original else gas.SSTORE_SET) - metering.no_change
        return price + metering.no_change, refund

    def _creation(self, _: Frame, stack: Sequence[int]) -> int:
        return gas.INITCODE_WORD * _words(stack[2]) if self.fork >= Fork.SHANGHAI else 0

    def _salted_creation(self, frame: Frame, stack: Sequence[int]) -> int:
        return gas.KECCAK_WORD * _words(stack[2]) + self._creation(frame, stack)

    def _exp(self, _: Frame, stack: Sequence[int]) -> int:
        return gas.exp_byte(self.fork) * ((stack[1].bit_length() + 7) // 8)

    def _keccak(self, _: Frame, stack: Sequence[int]) -> int:
        return gas.KECCAK_WORD * _words(stack[1])

    def _log(self, _: Frame, stack: Sequence[int]) -> int:
        return gas.LOG_BYTE * stack[1]


_RULES: Final[dict[str, Callable[[Pricing, Frame, Sequence[int]], int]]] = {
    "EXP": Pricing._exp,
    "KECCAK256": Pricing._keccak,
    "SLOAD": Pricing._sload,
    "CREATE": Pricing._creation,
    "CREATE2": Pricing._salted_creation,
    "SELFDESTRUCT": Pricing._selfdestruct,
    **{f"LOG{topics}": Pricing._log for topics in range(5)},
}
"""Gas above the table's price, memory and account access."""


def _memory_gas(name: str, stack: Sequence[int], size: int) -> int:
    """Gas to extend a memory of ``size`` bytes as the opcode needs it."""
    fixed = FIXED_MEMORY.get(name)
    if fixed is not None:
        end = stack[0] + fixed
    else:
        ends = [stack[offset] + stack[length] for offset, length in MEMORY_OPERANDS.get(name, ()) if stack[length]]
        end = max(ends, default=0)
    if end <= size:
        return 0
    return gas.memory_cost(_words(end)) - gas.memory_cost(size // _WORD)


def _words(size: int) -> int:
    return (size + _WORD - 1) // _WORD


def _address(word: int) -> Address:
    return Address((word & (2**160 - 1)).to_bytes(20, "big"))
