"""What the JIT is given from outside: who compiles in the background, and where what was compiled is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from chain.forks import Fork
from chain.types import Hash32
from vm.code import Code


class CompileRequest(NamedTuple):
    """Parts of one contract that are to be compiled; see `vm.evm.jit.module.compile_ir`."""

    fork: Fork
    level: int
    """LLVM's level of code generation, 0 to 3."""
    code: bytes
    hot: tuple[int, ...] | None
    """JUMPDESTs, and 0 for the code's begin; None for the whole contract."""


WORKER_LOST: Final = "the compiling process hung, died or could not be started"
"""The reason why a contract was not compiled that says nothing about the contract."""

Prepare = Callable[[], CompileRequest | None]
"""Called first, in the compiler's thread: what is to be compiled, None if nothing is."""

Done = Callable[[CompileRequest, bytes | None, str], None]
"""Called in the compiler's thread with the request and the object, or None and the reason."""


class CompilerStatus(NamedTuple):
    """Figures of a compiler in the background; those of none at all by default."""

    waiting: int = 0
    """Contracts in its queue."""
    killed: int = 0
    """Number of processes that hung or died."""
    faults: int = 0
    """Exceptions in its thread, and times that the thread had to be replaced."""
    last_fault: str = ""
    process_id: int | None = None
    """Id of the compile process, if it runs."""

    @property
    def restarts(self) -> int:
        """How often its thread or process had to be replaced."""
        return self.killed + self.faults


class BackgroundCompiler(Protocol):
    """Compiles contracts beside the executions, one after the other."""

    def submit(self, prepare: Prepare, done: Done) -> bool:
        """Queue a contract; False if there is no room for it. Raises nothing: the contract goes on interpreted."""

    def status(self) -> CompilerStatus:
        """What it has done. Any thread."""

    def close(self) -> None:
        """Stop at once; what waits is dropped."""


class Dump(Protocol):
    """Keeps what was compiled for people to read."""

    def write(self, code: Code, code_hash: Hash32, fork: Fork, kind: str, text: str, level: int) -> None:
        """One object: the contract, which part of it (``kind``), the module's IR, and LLVM's level."""
