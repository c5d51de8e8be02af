"""The interpreter, handlers and compiled code of one fork, made once per process and shared by all executions."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from chain.forks import Fork
from chain.types import Hash32
from vm.code import Code, CodeCache
from vm.evm.host.protocol import Handler
from vm.evm.jit.entry_table import EntryTable
from vm.evm.native import Interpreter


class Tier(Protocol):
    """Decides which code is compiled, and finds the compiled code."""

    def entry_table_of(self, code: Code) -> EntryTable | None:
        """Where the compiled functions of the code about to run are; None to interpret it."""

    def foresee(self, code_hash: Hash32, code: bytes) -> None:
        """A contract with this code was created: it may be called often. Any thread, and it does not wait."""

    def is_cold(self, code: Code, /) -> bool:
        """Whether nothing is lost with the code: no counts, no compiled functions. Any thread."""

    def deoptimised(self) -> int:
        """Times compiled code left something to the interpreter."""

    def interpreted(self) -> int:
        """Times a block of compiled code ran in the interpreter because that block was not compiled."""


class ForkRuntime(NamedTuple):
    """One fork's interpreter and opcode handlers, with the code and the compiled code that runs under it."""

    fork: Fork
    interpreter: Interpreter
    handlers: list[Handler]
    """Handlers of the opcodes that Python executes, by opcode byte."""
    codes: CodeCache
    tier: Tier | None
    """None to interpret everything."""
    code_bytes_max: int
    """Longest code of a contract; creation code may be twice as long."""
