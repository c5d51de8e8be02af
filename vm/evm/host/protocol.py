"""The interface between opcode handlers and the execution; `vm.evm.execution.Execution` implements it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from chain.forks import Fork
from chain.types import Address
from vm.code import Code, CodeCache
from vm.context import ExecutionContext
from vm.evm.frame import Frame
from vm.evm.native_state.state import NativeState
from vm.evm.trace import Tracer
from vm.journal import Journal
from vm.message import Halt, Message


class OpcodeHost(Protocol):
    """One execution as its handlers see it."""

    fork: Fork
    has_access_lists: bool
    """Accounts and slots are cold or warm (EIP-2929)."""
    context: ExecutionContext
    journal: Journal
    """The context's."""
    native_state: NativeState
    """Changes of native code since they were last moved into the journal."""
    precompiles: Mapping[Address, Address]
    """Where a precompiled contract answers -> which one."""
    codes: CodeCache
    code_bytes_max: int
    """Longest code of a contract; creation code may be twice as long."""
    tracer: Tracer | None
    is_native: bool
    """Whether native code may do without the journal what nobody can see: there is neither stepping nor a tracer."""

    def code_of(self, address: Address) -> Code | None:
        """The account's own code, None if it has none."""

    def begin_call(self, message: Message) -> None:
        """Begin a call that has been paid for; its frame is then the innermost, or it has ended."""

    def begin_create(self, message: Message) -> None:
        """Begin a creation that has been paid for; its frame is then the innermost, or it has ended."""

    def report_refused(self, message: Message, halt: Halt) -> None:
        """Report to the tracer a message that fails before it begins."""

    def flush_to_journal(self) -> None:
        """Move the changes of native code into the journal, and report logs to the tracer."""

    def forget_slots(self) -> None:
        """Have native code ask for all slots again."""


Handler = Callable[[OpcodeHost, Frame], Halt | None]
"""Carries out one opcode for the frame; what ends the frame, None to go on."""
