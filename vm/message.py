"""What a call asks of the machine and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from chain.types import Address


class CallKind(IntEnum):
    """How a frame came to be."""

    CALL = 0
    CALLCODE = 1
    DELEGATECALL = 2
    STATICCALL = 3
    CREATE = 4
    CREATE2 = 5


CREATES: Final = (CallKind.CREATE, CallKind.CREATE2)
"""Kinds whose data is init code."""


class Halt(IntEnum):
    """Why a frame ended, in bands: below 16 success, 16 to 31 revert, from 32 on an exceptional halt."""

    STOP = 0
    RETURN = 1
    SELFDESTRUCT = 2
    REVERT = 16
    OUT_OF_GAS = 32
    STACK_UNDERFLOW = 33
    STACK_OVERFLOW = 34
    INVALID_JUMP = 35
    INVALID_OPCODE = 36
    STATIC_VIOLATION = 37
    RETURN_DATA_OUT_OF_BOUNDS = 38
    CODE_TOO_LARGE = 39
    """Deployed code above 24,576 bytes (EIP-170)."""
    CODE_STARTS_WITH_EF = 40
    """Deployed code begins with 0xEF (EIP-3541)."""
    CREATE_COLLISION = 41
    """The address of a creation already has code, nonce or storage (EIP-684, EIP-7610)."""
    PRECOMPILE_FAILURE = 42
    CALL_TOO_DEEP = 43
    """More than 1,024 frames; the caller sees a failed call and keeps its gas."""
    INSUFFICIENT_BALANCE = 44
    """The caller cannot pay the value; the caller sees a failed call and keeps its gas."""
    NONCE_OVERFLOW = 45

    @property
    def is_success(self) -> bool:
        """The frame's changes are kept."""
        return self < 16

    @property
    def is_revert(self) -> bool:
        """Changes undone, remaining gas returned."""
        return 16 <= self < 32

    @property
    def is_exceptional(self) -> bool:
        """Changes undone, gas consumed (Yellow Paper 9.4.2)."""
        return self >= 32


@dataclass(slots=True)
class Message:
    """One call or creation."""

    kind: CallKind
    caller: Address
    to: Address
    """Whose storage and balance are used. For creations: the new address, filled in by the machine."""
    code_address: Address
    """Whose code runs (differs from ``to`` for CALLCODE and DELEGATECALL). Unused for creations."""
    value: int
    """Wei seen by CALLVALUE."""
    data: bytes
    """Calldata; for creations the init code."""
    gas: int
    depth: int = 0
    is_static: bool = False
    transfers_value: bool = True
    """False for DELEGATECALL, whose value is inherited and not moved."""
    salt: int | None = None
    """CREATE2 only."""

    def cap_gas(self, most: int) -> None:
        """Have at most so much gas."""
        self.gas = min(self.gas, most)

    def create_at(self, address: Address) -> None:
        """The account that this creation makes."""
        self.to = self.code_address = address

    def child(self, kind: CallKind, target: Address, value: int, data: bytes, gas: int) -> Message:
        """The message of a CALL-like opcode run by this one's code, one deeper (Yellow Paper 8).

        ``target`` is the account whose code runs, ``value`` wei, which DELEGATECALL inherits instead, ``gas`` what
        the callee may use. For creations see `vm.evm.host.creates`.
        """
        depth = self.depth + 1
        if kind is CallKind.DELEGATECALL:
            is_static, value = self.is_static, self.value
            return Message(
                kind, self.caller, self.to, target, value, data, gas, depth, is_static, transfers_value=False
            )
        to = self.to if kind is CallKind.CALLCODE else target
        is_static = self.is_static or kind is CallKind.STATICCALL
        return Message(kind, self.to, to, target, value, data, gas, depth, is_static)


@dataclass(slots=True)
class Outcome:
    """The end of a message."""

    halt: Halt
    gas_left: int
    output: bytes = b""
    """Return data, or revert data; deployed code is not repeated here."""
    created: Address | None = None
    """Address of a successful creation."""
    fault: str = field(default="", compare=False)
    """Why it failed, in geth's words (`vm.evm.faults`). For tracers: it may be empty if there is none."""
    code: bytes = field(default=b"", compare=False)
    """Code that a creation deployed; before Homestead also what it returned and could not pay for."""

    @property
    def success(self) -> bool:
        """Changes were kept."""
        return self.halt.is_success
