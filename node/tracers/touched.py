"""Which account and which slot an opcode is about to access, read from the stack before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chain.crypto import create2_address, create_address
from chain.types import Address
from node.api.tracing import TracedRun
from vm.evm.opcodes import BY_NAME
from vm.evm.pricing import Pricing
from vm.message import Halt

if TYPE_CHECKING:
    from vm.evm.frame import Frame


def _bytes(*names: str) -> frozenset[int]:
    return frozenset(BY_NAME[name].byte for name in names)


_SLOT_OPCODES: Final = _bytes("SLOAD", "SSTORE")
"""The slot is on top."""
CALLS: Final = _bytes("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL")
_ACCOUNT_OPERAND: Final = {
    **dict.fromkeys(_bytes("BALANCE", "EXTCODESIZE", "EXTCODECOPY", "EXTCODEHASH", "SELFDESTRUCT"), 0),
    **dict.fromkeys(CALLS, 1),
}
"""Opcode -> operand, from the top, that is an address."""
_CREATE: Final = BY_NAME["CREATE"].byte
_CREATE2: Final = BY_NAME["CREATE2"].byte
_OF_INTEREST: Final = _SLOT_OPCODES | _ACCOUNT_OPERAND.keys() | {_CREATE, _CREATE2}
_ADDRESS_MASK: Final = (1 << 160) - 1


def opcode_at(frame: Frame) -> int:
    """The opcode about to run; STOP beyond the code."""
    return frame.code.padded[frame.pc] if frame.pc < frame.code.length else 0


class Touches:
    """Accessed accounts and slots by address, gathered step by step. An opcode without enough gas accesses nothing."""

    def __init__(self, run: TracedRun) -> None:
        self.slots: dict[Address, set[int]] = {}
        self._journal = run.journal
        self._pricing = Pricing(run.environment.fork, run.journal, run.code_bytes_max)

    def add(self, address: Address, *slots: int) -> None:
        """Add an account, and slots of it."""
        self.slots.setdefault(address, set()).update(slots)

    def step(self, frame: Frame) -> None:
        """Add what the next opcode is about to access."""
        opcode = opcode_at(frame)
        if opcode not in _OF_INTEREST:
            return
        failure = self._pricing.look(frame).failure
        if failure is not None:
            self.failed(frame, opcode, failure)
        elif opcode in _SLOT_OPCODES:
            self.add(frame.message.to, frame.peek())
        elif opcode == _CREATE:
            owner = frame.message.to
            self.add(create_address(owner, self._journal.nonce(owner)))
        elif opcode == _CREATE2:
            offset, size, salt = frame.peek(1), frame.peek(2), frame.peek(3)
            # Memory the opcode grows into is zero, and not there yet.
            initcode = bytes(frame.memory_bytes()[offset : offset + size]).ljust(size, b"\x00")
            self.add(create2_address(frame.message.to, salt, initcode))
        else:
            address = _account(frame, opcode)
            self.add(address)
            if opcode in CALLS:
                self.called(address)

    def called(self, address: Address) -> None:
        """An opcode calls the account."""

    def failed(self, frame: Frame, opcode: int, failure: Halt) -> None:
        """An opcode that accesses accounts or slots fails."""


def _account(frame: Frame, opcode: int) -> Address:
    return Address((frame.peek(_ACCOUNT_OPERAND[opcode]) & _ADDRESS_MASK).to_bytes(20, "big"))


class ReplayTouches(Touches):
    """All state that a replay from the touched state alone needs: also delegates' code, and what prices depend on."""

    def called(self, address: Address) -> None:
        """The account's code runs, or that of the account it delegates to (EIP-7702)."""
        delegate = self._pricing.delegate_of(address)
        if delegate is not None:
            self.add(delegate)

    def failed(self, frame: Frame, opcode: int, failure: Halt) -> None:
        """An opcode that is too expensive with the slot or account as it is could be affordable if it were empty."""
        if failure is not Halt.OUT_OF_GAS:
            return
        if opcode in _SLOT_OPCODES:
            owner, slot = frame.message.to, frame.peek()
            if self._journal.storage(owner, slot):
                self.add(owner, slot)
        elif opcode in _ACCOUNT_OPERAND:
            address = _account(frame, opcode)
            if not self._journal.account(address).is_empty:
                self.add(address)
